"""Pictures are decoded once by content, continued after a kill, and broken ones are all named."""

import io
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console

from optsweep.data.builtin import Source
from optsweep.data.decoding import programs, progress, unfinished, worker
from optsweep.data.folder import image_folder
from optsweep.errors import DatasetError, FolderError
from support.pictures import BLUE, assert_same, cache, load, picture, pictures

decoded = worker.decoded


class Opened(list[Any]):
    """The files that Pillow was given, of which `limit` are decoded before a kill."""

    limit = 10**9

    def __call__(self, file: Any, size: int) -> bytes:
        if len(self) == self.limit:
            raise KeyboardInterrupt
        self.append(file)
        return decoded(file, size)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    counted = Opened()
    monkeypatch.setattr(worker, "decoded", counted)
    return counted


def left(data_dir: Path) -> list[Path]:
    return sorted((data_dir / ".decoded").glob("*.unfinished"))


def break_(files: Iterable[Path]) -> list[Path]:
    broken = list(files)
    for file in broken:
        file.write_bytes(b"\x89PNG no")
    return broken


def skipping(root: Path, data_dir: Path) -> Source:
    return image_folder(data_dir=data_dir, path=str(root), size=4, skip_broken=True)


# Continuing, and decoding nothing twice.


@pytest.mark.parametrize("limit", [0, 1, 7])
def test_a_decoding_that_was_ended_is_continued(limit: int, tmp_path: Path, opened: Opened) -> None:
    root = pictures(tmp_path / "pets")
    expected = load(root, tmp_path / "elsewhere")
    opened.clear()
    opened.limit = limit
    with pytest.raises(KeyboardInterrupt):
        load(root, tmp_path)
    assert len(left(tmp_path)) == 1
    opened.limit = 10**9
    assert_same(load(root, tmp_path), expected)
    assert len(opened) == 10
    assert not left(tmp_path)


def test_what_another_boot_has_left_is_made_anew(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pictures(tmp_path / "pets")
    opened.limit = 5
    for name in ("pets", "others"):
        with pytest.raises(KeyboardInterrupt):
            load(pictures(tmp_path / name), tmp_path)
    assert len(left(tmp_path)) == 2
    opened.clear()
    opened.limit = 10**9
    monkeypatch.setattr(unfinished, "_BOOT", tmp_path / "none")
    load(root, tmp_path)
    assert len(opened) == 10
    assert not left(tmp_path), "the other folder's, which nobody can continue, is removed too"


@pytest.mark.parametrize("length", [0, 3, 8, 100, 5000, -1])
def test_a_torn_unfinished_file_is_made_anew(length: int, tmp_path: Path, opened: Opened) -> None:
    root = pictures(tmp_path / "pets")
    expected = load(root, tmp_path / "elsewhere")
    opened.clear()
    opened.limit = 5
    with pytest.raises(KeyboardInterrupt):
        load(root, tmp_path)
    (file,) = left(tmp_path)
    file.write_bytes(file.read_bytes()[:length])
    opened.limit = 10**9
    assert_same(load(root, tmp_path), expected)


@pytest.mark.parametrize(
    ("change", "again"),
    [
        pytest.param(lambda root: root.rename(root.parent / "moved"), 0, id="renamed"),
        pytest.param(lambda root: os.utime(root / "cat" / "0.png", (1, 1)), 0, id="touched"),
        pytest.param(
            lambda root: (root / "cat" / "0.png").rename(root / "dog" / "x.png"), 0, id="moved"
        ),
        pytest.param(lambda root: (root / "dog" / "4.png").unlink(), 0, id="removed"),
        pytest.param(lambda root: picture(root / "cat" / "new.png", BLUE), 1, id="added"),
        pytest.param(lambda root: picture(root / "cat" / "0.png", BLUE), 1, id="changed"),
    ],
)
def test_only_content_that_is_new_is_decoded(
    change: Any, again: int, tmp_path: Path, opened: Opened
) -> None:
    root = pictures(tmp_path / "pets")
    load(root, tmp_path)
    opened.clear()
    change(root)
    root = root if root.exists() else root.parent / "moved"
    source = load(root, tmp_path)
    assert len(opened) == again
    assert_same(source, load(root, tmp_path / "fresh"))


# Broken files.


@pytest.mark.parametrize(("count", "more"), [(2, ""), (20, ""), (33, "; and 13 more")])
def test_broken_files_are_all_named_up_to_twenty(count: int, more: str, tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets", 40)
    broken = break_(sorted((root / "cat").iterdir())[:count])
    with pytest.raises(DatasetError) as raised:
        load(root, tmp_path)
    message = str(raised.value)
    assert message.startswith(f"{count} of 80 pictures are broken; remove them, or type dataset.")
    assert [str(file) in message for file in broken] == [place < 20 for place in range(count)]
    assert message.endswith(f"){more}") and "\n" not in message
    assert not cache(tmp_path)


def test_broken_files_can_be_skipped_and_labels_follow(tmp_path: Path, opened: Opened) -> None:
    root = pictures(tmp_path / "pets", 10)
    break_(root / place for place in ("cat/3.png", "cat/7.png", "dog/0.png"))
    with pytest.raises(DatasetError, match="3 of 20 pictures are broken"):
        load(root, tmp_path)
    opened.clear()
    source = skipping(root, tmp_path)
    assert len(opened) == 3, "broken ones are tried again, the others are there"
    for place in ("cat/3.png", "cat/7.png", "dog/0.png"):
        (root / place).unlink()
    expected = load(root, tmp_path / "elsewhere")
    assert_same(source, expected)
    for part in (source.train, source.test):  # a cat is red, a dog is green
        assert torch.equal(part.images[:, 1, 0, 0] // 255, part.labels)


def test_broken_files_that_were_skipped_are_refused_again(tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets")
    (broken,) = break_([root / "cat" / "3.png"])
    first = skipping(root, tmp_path)
    assert_same(skipping(root, tmp_path), first)
    with pytest.raises(DatasetError, match=re.escape(f"{broken} cannot be read as a picture")):
        load(root, tmp_path)


def test_a_class_that_would_be_empty_is_refused(tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets")
    break_((root / "dog").iterdir())
    with pytest.raises(DatasetError, match="no picture of dog can be read"):
        skipping(root, tmp_path)


def test_after_broken_files_are_removed_the_others_are_not_decoded_again(
    tmp_path: Path, opened: Opened
) -> None:
    root = pictures(tmp_path / "pets")
    (broken,) = break_([root / "cat" / "3.png"])
    with pytest.raises(DatasetError):
        load(root, tmp_path)
    broken.unlink()
    opened.clear()
    load(root, tmp_path)
    assert not opened
    assert not left(tmp_path)


# Disk space and progress.


def test_what_the_disk_cannot_take_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    root = pictures(tmp_path / "pets")
    with pytest.raises(FolderError, match=r"cannot take the 1,?\d+\.\d MB .*data_dir="):
        load(root, tmp_path, size=6000)
    assert "decoding 10 pictures takes 1.1 GB of disk in " in capsys.readouterr().out
    assert not left(tmp_path)
    load(root, tmp_path)
    assert capsys.readouterr().out == ""


def shown(monkeypatch: pytest.MonkeyPatch, terminal: bool, seconds: float) -> str:
    clock = iter(range(10**9))
    monkeypatch.setattr("time.monotonic", lambda: next(clock) * seconds)
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=80)
    with progress.DecodingProgress(console, 12_345, 0) as bar:
        for _ in range(12_345):
            bar.advance(1)
    return text.getvalue()


def test_a_pipe_gets_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others, last = shown(monkeypatch, False, 0.001).splitlines()
    assert re.fullmatch(r"decoding pictures: [\d,]+ of 12,345", first)
    assert 2 <= len(others) <= 5
    assert re.fullmatch(r"decoded 12,345 pictures in 1\d\.\d s", last)


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "decoding pictures" in (text := shown(monkeypatch, True, 0.001))
    assert "12,345/12,345" in text


@pytest.mark.parametrize("terminal", [False, True])
def test_what_takes_less_than_a_second_shows_nothing(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown(monkeypatch, terminal, 1e-6) == ""


def test_programs_are_started_for_what_takes_long_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(programs, "_ALONE", 0.3)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    enough = programs._enough(1000)
    assert not enough(1)
    now[0] = 0.4
    assert enough(100), "36 s are left"
    assert not enough(500), "0.4 s are left"


# What a picture looks like is the same as ever.


def test_pixels_are_those_that_pillow_resizes(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    Image.effect_mandelbrot((90, 60), (-2, -1, 1, 1), 50).convert("RGB").save(file)
    with Image.open(file) as opened_file:
        expected = opened_file.resize((8, 8), Image.Resampling.BILINEAR)
    pixels = torch.frombuffer(bytearray(decoded(str(file), 8)), dtype=torch.uint8).view(3, 8, 8)
    assert bytes(pixels.permute(1, 2, 0).contiguous().numpy().data) == expected.tobytes()
