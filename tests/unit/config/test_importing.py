"""Modules of a user's own: where they are looked for, and what they cannot hide."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from optsweep.config.importing import find, why_not


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """The current folder and the project's; what was imported from them is forgotten."""
    here, project = tmp_path / "here", tmp_path / "project"
    here.mkdir()
    project.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("OPTSWEEP_PROJECT", str(project))
    path, modules = sys.path[:], set(sys.modules)
    yield here, project
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.mark.parametrize("place", [0, 1], ids=["the current folder", "the folder of conf"])
def test_a_module_is_found_behind_all_others(folders: tuple[Path, Path], place: int) -> None:
    (folders[place] / "own_net.py").write_text("import own_parts\nNet = own_parts.part\n")
    (folders[place] / "own_parts.py").write_text("class part:\n    pass\n")
    (folders[place] / "json.py").write_text("raise SystemExit\n")
    before = sys.path[:]
    assert find("own_net.Net").__name__ == "part"
    assert sys.path == [*before, *map(str, folders)]
    assert find("json.dumps")([]) == "[]"


def test_the_path_stays_as_it_was_where_nothing_was_needed(folders: tuple[Path, Path]) -> None:
    before = sys.path[:]
    assert find("collections.abc.Sequence")
    with pytest.raises(ModuleNotFoundError):
        find("own_nothing.Net")
    assert sys.path == before


def test_a_module_that_is_missing_inside_a_package_is_named(folders: tuple[Path, Path]) -> None:
    (folders[0] / "own_kit").mkdir()
    (folders[0] / "own_kit" / "nets.py").write_text("import own_missing\n")
    with pytest.raises(ModuleNotFoundError) as raised:
        find("own_kit.nets.Net")
    said = why_not("own_kit.nets.Net", raised.value)
    assert "No module named 'own_missing', in own_kit/nets.py:1" in said


def test_the_folders_that_were_looked_in_are_said(folders: tuple[Path, Path]) -> None:
    error = ModuleNotFoundError("No module named 'own_net'", name="own_net")
    here, project = folders
    said = why_not("own_net.Net", error)
    assert f"make own_net.py in {here} (looked in {here} and {project})" in said
