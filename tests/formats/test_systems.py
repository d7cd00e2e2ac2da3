"""Names that are one file to some systems: those that differ in case, or in the form of accents."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import darknet_bn as dn
from darknet_bn.cli import targets
from darknet_bn.cli.pictures import FoundPictures
from darknet_bn.formats import systems
from darknet_bn.formats.writing import is_same_file, require_writable


@pytest.fixture
def caseless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that finds a file under its name in any case, as on macOS and Windows."""

    def looking(real: Any) -> Any:
        def look(name: Any, *args: Any, **options: Any) -> os.stat_result:
            return real(found(name), *args, **options)

        return look

    def found(name: Any) -> Any:
        if not isinstance(name, (str, os.PathLike)) or not Path(name).is_relative_to(tmp_path):
            return name
        place = tmp_path
        for part in Path(name).relative_to(tmp_path).parts:
            there = os.listdir(place) if os.access(place, os.R_OK) else []
            place /= next((each for each in there if each.lower() == part.lower()), part)
        return place

    for call in ("stat", "lstat"):
        monkeypatch.setattr(os, call, looking(getattr(os, call)))
    (tmp_path / "there").touch()
    return tmp_path


class TestOutputs:
    def test_two_that_differ_in_case_are_one_file(self, caseless: Path) -> None:
        names = [caseless / "a.jpg", caseless / "b.jpg", caseless / "A.jpg"]
        with pytest.raises(dn.DarknetError) as caught:
            require_writable(names, force=True)
        assert str(caught.value) == (
            f"{names[2]}: two files cannot have the same name (found {names[0]})"
        )

    def test_elsewhere_they_are_two(self, tmp_path: Path) -> None:
        require_writable([tmp_path / "a.jpg", tmp_path / "A.jpg"], force=True)
        (tmp_path / "there").touch()
        require_writable([tmp_path / "a.jpg", tmp_path / "A.jpg"], force=True)
        with pytest.raises(dn.DarknetError, match="two files cannot have the same name"):
            require_writable([tmp_path / each for each in ("a", "A", "b", "A")], force=True)

    def test_two_names_that_are_the_same_object(self, tmp_path: Path) -> None:
        name = str(tmp_path / "a")
        with pytest.raises(dn.DarknetError, match="two files cannot have the same name"):
            require_writable([name, name], force=True)

    def test_two_forms_of_accents_are_one_there(self, caseless: Path) -> None:
        names = [str(caseless / each) for each in ("\xe9", "e\u0301")]
        assert systems.first_clash(names) == (0, 1)
        assert systems.first_clash(["/\xe9", "/e\u0301"]) is None

    def test_a_folder_that_is_yet_to_be_made_is_as_the_one_around_it(self, caseless: Path) -> None:
        inside = [str(caseless / "new" / "er" / each) for each in ("a", "A")]
        assert systems.first_clash(inside) == (0, 1)
        folders = [str(caseless / each / "a") for each in ("New", "new")]
        assert systems.first_clash(folders) == (0, 1)

    @pytest.mark.parametrize("windows", [True, False])
    def test_if_nothing_tells_the_system_does(
        self, windows: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(name: str) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "scandir", refuse)
        monkeypatch.setattr(systems, "WINDOWS", windows)
        assert systems.first_clash(["a", "A"]) == ((0, 1) if windows else None)

    def test_pictures_whose_outputs_would_be_one_file(self, caseless: Path) -> None:
        found = FoundPictures({"x/a.jpg": "a.jpg", "y/A.jpg": "A.jpg"}, (), False)
        with pytest.raises(dn.DarknetError) as caught:
            targets.in_folder(found, str(caseless), str)
        assert caught.value.problem == "two pictures would share this file"
        assert caught.value.found == "x/a.jpg and y/A.jpg"
        assert caught.value.hint == "give the folder above both, with --recursive"

    def test_elsewhere_they_are_two_files(self, tmp_path: Path) -> None:
        found = FoundPictures({"x/a.jpg": "a.jpg", "y/A.jpg": "A.jpg"}, (), False)
        assert len(set(targets.in_folder(found, str(tmp_path), str).values())) == 2


class TestInputs:
    def test_one_is_not_written_over_under_its_name_in_another_case(self, caseless: Path) -> None:
        (caseless / "out.cfg").touch()
        assert is_same_file(caseless / "OUT.cfg", caseless / "out.cfg")
        with pytest.raises(dn.DarknetError, match="is an input, and is never overwritten"):
            require_writable([caseless / "OUT.cfg"], force=True, inputs=[caseless / "out.cfg"])
        with pytest.raises(dn.DarknetError, match="already exists"):
            require_writable([caseless / "OUT.cfg"], force=False)

    def test_a_file_system_that_does_not_number_its_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in "ab":
            (tmp_path / name).touch()
        (tmp_path / "link").symlink_to("a")
        monkeypatch.setattr(os, "stat", lambda name: SimpleNamespace(st_ino=0, st_dev=1))
        assert not is_same_file(tmp_path / "a", tmp_path / "b")
        assert is_same_file(tmp_path / "a", tmp_path / "link")
