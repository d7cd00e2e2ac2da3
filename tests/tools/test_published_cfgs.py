"""tools/published_cfgs.py makes the table that ships with the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from darknet_bn.model.published import TABLE
from tests.support.paths import TOOLS


def test_the_table_is_the_one_that_the_tool_makes(shared: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    words = [sys.executable, str(TOOLS / "published_cfgs.py"), str(shared), str(out)]
    subprocess.run(words, check=True)
    assert out.read_bytes() == TABLE.read_bytes()


def test_the_table_is_small_and_holds_no_text_of_cfgs() -> None:
    text = TABLE.read_text(encoding="utf-8")
    assert len(text) < 64 << 10
    assert "=" not in text and "[" not in text
