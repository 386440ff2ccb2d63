"""A download that is killed leaves nothing that looks like a file, and is made again."""

import gzip
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torchvision

from optsweep.data import download
from optsweep.errors import DatasetError, SettingsError


def published(folder: Path) -> type[Any]:
    """A dataset of MNIST's kind with four files, which `folder` holds as its address does."""
    folder.mkdir()
    resources = []
    for name, sizes in (("train", (3, 2, 2)), ("t10k", (2, 2, 2))):
        for kind, shape in (("images-idx3", sizes), ("labels-idx1", sizes[:1])):
            header = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
            length = 4 if len(shape) == 3 else 1
            packed = gzip.compress(header + bytes(shape[0] * length))
            (folder / f"{name}-{kind}-ubyte.gz").write_bytes(packed)
            md5 = hashlib.md5(packed, usedforsecurity=False).hexdigest()
            resources.append((f"{name}-{kind}-ubyte.gz", md5))
    own = {"mirrors": [f"{folder.as_uri()}/"], "resources": resources}
    return type("Tiny", (torchvision.datasets.MNIST,), own)


def copy(url: str, path: Any, *others: Any) -> None:
    """What torchvision fetches a file with, for addresses without a server."""
    shutil.copy(url.removeprefix("file://"), path)


class Killed(BaseException):
    """As the process would be, in the middle of a file."""


def test_a_download_that_was_killed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls, data_dir = published(tmp_path / "there"), tmp_path / "data"
    asked: list[str] = []

    def half(url: str, path: Any, *others: Any) -> None:
        asked.append(url)
        if len(asked) == 2:
            Path(path).write_bytes((tmp_path / "there" / url.rpartition("/")[2]).read_bytes()[:9])
            raise Killed
        copy(url, path)

    with monkeypatch.context() as patch:
        patch.setattr(torchvision.datasets.utils, "_urlretrieve", half)
        # As SIGKILL: nothing is cleared away.
        patch.setattr(shutil, "rmtree", lambda path, **how: None)
        with pytest.raises(Killed):
            download.fetch(cls, data_dir)
    (kept,) = (data_dir / "Tiny/raw").iterdir()  # the first file, which is whole
    before = kept.stat().st_mtime_ns
    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", copy)
    download.fetch(cls, data_dir)
    assert len(list((data_dir / "Tiny/raw").iterdir())) == 8
    assert kept.stat().st_mtime_ns == before
    assert [path.name for path in data_dir.iterdir()] == ["Tiny"]
    assert len(cls(str(data_dir), train=True)) == 3


def test_a_folder_of_this_machine_is_a_mirror(tmp_path: Path) -> None:
    cls, data_dir = published(tmp_path / "there"), tmp_path / "data"
    with pytest.raises(DatasetError, match=r"train-images-idx3-ubyte\.gz cannot be downloaded"):
        download.fetch(cls, data_dir, (tmp_path / "nowhere").as_uri())
    (tmp_path / "empty").mkdir()
    for file in (tmp_path / "there").iterdir():
        (tmp_path / "empty" / file.name).touch()
    with pytest.raises(DatasetError, match="is another file: its MD5 differs"):
        download.fetch(cls, data_dir, (tmp_path / "empty").as_uri())
    assert not [path for path in data_dir.rglob("*") if path.is_file()], "nothing is left"
    download.fetch(cls, data_dir, (tmp_path / "there").as_uri())
    assert len(list((data_dir / "Tiny/raw").iterdir())) == 8
    assert len(cls(str(data_dir), train=True)) == 3


@pytest.mark.parametrize("mirror", ["ftp://127.0.0.1/x", "/tmp/x", "nonsense", "file:x"])
def test_a_mirror_is_an_address_that_files_are_fetched_from(mirror: str, tmp_path: Path) -> None:
    cls = published(tmp_path / "there")
    with pytest.raises(SettingsError, match=r"must begin with https://, http:// or file:///"):
        download.fetch(cls, tmp_path / "data", mirror)


def test_an_archive_without_a_checksum_is_not_kept_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls, data_dir = published(tmp_path / "there"), tmp_path / "data"
    unknown = [(name, None) for name, _ in cls.resources]
    cls = type("Tiny", (cls,), {"resources": unknown})

    def half(url: str, path: Any, *others: Any) -> None:
        Path(path).touch()
        raise Killed

    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", half)
    with pytest.raises(Killed):
        download.fetch(cls, data_dir)
    assert not [path for path in data_dir.rglob("*") if path.is_file()]


def test_a_file_that_is_another_than_was_published_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", copy)
    cls, data_dir = published(tmp_path / "there"), tmp_path / "data"
    (tmp_path / "there/t10k-images-idx3-ubyte.gz").write_bytes(b"<html>not here</html>")
    with pytest.raises(DatasetError, match="t10k-images-idx3-ubyte"):
        download.fetch(cls, data_dir)
    names = {path.name for path in (data_dir / "Tiny/raw").iterdir()}
    assert names == {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"}
