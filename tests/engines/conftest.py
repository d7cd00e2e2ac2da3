"""Sessions in every engine that is installed."""

from __future__ import annotations

import pytest

from tests.support.engines import EACH


@pytest.fixture(params=EACH)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name
