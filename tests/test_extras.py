"""Packages that may be absent: one line, and Ctrl-C that waits until one is whole."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.extras import load_extra


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that ``import heavy`` runs."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "heavy", raising=False)
    return tmp_path / "heavy.py"


def load() -> object:
    return load_extra("heavy", "heavy is not installed", hint="pip install heavy")


def test_what_is_there_is_imported(package: Path) -> None:
    package.write_text("x = 1")
    assert load().x == 1  # type: ignore[attr-defined]


def test_what_is_not_there_is_missed_with_one_line() -> None:
    for name in ("no_such_package", "no_such_package.part"):
        with pytest.raises(dn.ExportError) as caught:
            load_extra(name, "it is not installed", hint="pip install it", error=dn.ExportError)
        assert str(caught.value) == "it is not installed; pip install it"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("raise ImportError('libGL.so.1: no such file\\nat all')", "ImportError: libGL.so.1: no"),
        ("raise AttributeError('numpy')", "AttributeError: numpy"),
        ("raise RuntimeError('two copies')", "RuntimeError: two copies"),
    ],
)
def test_what_is_there_and_broken_is_not_called_absent(
    package: Path, source: str, found: str
) -> None:
    package.write_text(source)
    with pytest.raises(dn.DarknetError) as caught:
        load()
    message = str(caught.value)
    assert message.startswith("the package heavy is installed, but cannot be imported (found ")
    assert found in message
    assert "\n" not in message


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_the_import_is_over(package: Path, number: signal.Signals) -> None:
    package.write_text(
        f"import signal\ntry:\n    signal.raise_signal({int(number)})\n"
        "except BaseException as error:\n    raise ImportError('not installed') from error\n"
    )
    arrived: list[int] = []
    before = signal.signal(number, lambda which, _: arrived.append(which))
    try:
        assert load()
        assert arrived == [number]
    finally:
        signal.signal(number, before)


def test_another_thread_imports_too(package: Path) -> None:
    package.write_text("x = 1")
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(load()))
    thread.start()
    thread.join()
    assert len(found) == 1
