"""What is refused by the real command: in one line, with code 2, before anything starts."""

import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from support.command import run
from support.refusals import case, runs_in
from support.refusals import refusal as refused_by

refusal = partial(refused_by, run)


# The server that workers are forked from imports on another core, and ends with who answers.
_TRAP = """import sys, time
if "forkserver" in str(sys.orig_argv):
    time.sleep(600)
raise RuntimeError("imported for a typing error")
"""


@pytest.fixture
def without_torch(tmp_path: Path) -> dict[str, str]:
    """An environment in which importing torch or mlflow is an error."""
    folder = tmp_path / "trap"
    folder.mkdir()
    for name in ("torch", "mlflow"):
        (folder / f"{name}.py").write_text(_TRAP)
    path = [str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path))}


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        case("lr=0", "lr=0:", "above 0", "lr=1e-3"),
        case("optimizer=adm", "optimizer=adm:", "type optimizer=adam"),
        case("lr=1e-3,1e-1", "run.py -m lr=1e-3,1e-1"),
        case("'lr=${foo}'", "lr=${foo}:", "does not exist"),
        case("--lr=0.1", "--lr=0.1:", "type lr=0.1"),
        case("-m lr=1e-3,0", "lr=0:", "lr=1e-3"),
        case("-m optimzer=sgd,adam", "type optimizer=sgd,adam"),
        case("tracking.uri=http://127.0.0.1:9", "tracking.uri=", "does not answer"),
        case("-m seed=0,1 tracking.uri=http://127.0.0.1:9", "tracking.uri=", "does not answer"),
    ],
)
def test_a_typing_error_is_answered_before_torch_is_imported(
    project: Path, without_torch: dict[str, str], arguments: list[str], words: tuple[str, ...]
) -> None:
    line = refusal(project, *arguments, env=without_torch)
    assert [word for word in words if word not in line] == [], line


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        case("model=cnn", "model=cnn:", "8x8", "dataset.resize=32", "softmax, mlp, resnet18"),
        case("-m model=mlp,cnn", "model=cnn:", "8x8", "softmax, mlp, resnet18"),
        case("dataset=image_folder", "dataset.path=/path"),
    ],
)
def test_what_cannot_work_together_is_refused_before_the_run(
    project: Path, arguments: list[str], words: tuple[str, ...]
) -> None:
    line = refusal(project, *arguments)
    assert [word for word in words if word not in line] == [], line


@pytest.mark.long
def test_the_command_that_is_offered_can_be_typed_where_one_stands(
    tmp_path: Path, project: Path
) -> None:
    done = run(project, "lr=1e-3,1e-1", cwd=tmp_path)
    script = str(project / "experiments" / "run.py")
    assert shlex.join(["python", script, "-m", "lr=1e-3,1e-1"]) in done.stderr


@pytest.mark.long
def test_what_works_together_is_not_refused(project: Path) -> None:
    unusual = ["model=scratch_softmax", "loss=mse", "optimizer=adagrad", "schedule=one_cycle"]
    done = run(project, *unusual, "epochs=1", "figures=none")
    assert (done.returncode, done.stderr) == (0, "")
    assert runs_in(project / "mlflow.db") == 1


@pytest.fixture
def refusing() -> Iterator[str]:
    """An address at which nothing listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{reserved.getsockname()[1]}"


# Folders that cannot be written: root can write into any, so each is a small file system


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a file system of the given size; "ro" makes one that cannot be written."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("mounting a file system is not permitted here")
        return folder

    yield mount
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


Disk = Callable[[str], Path]


@pytest.mark.parametrize(
    ("arguments", "key"),
    [([], "hydra.run.dir"), (["-m", "lr=1e-3,1e-1"], "hydra.sweep.dir")],
    ids=["run", "sweep"],
)
def test_a_read_only_folder_for_runs_is_named(
    project: Path, disk: Disk, without_torch: dict[str, str], arguments: list[str], key: str
) -> None:
    folder = disk("ro") / "runs"
    line = refusal(project, *arguments, f"{key}={folder}", env=without_torch)
    assert str(folder) in line and f"{key}=/path" in line


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        pytest.param([], "hydra.run.dir", id="run"),
        pytest.param(
            ["-m", "lr=1e-3,1e-1"],
            "hydra.sweep.dir",
            id="sweep",
        ),
    ],
)
def test_a_full_disk_for_runs_is_refused_before_training(
    project: Path, disk: Disk, arguments: list[str], key: str
) -> None:
    folder = disk("size=1m") / "runs"
    line = refusal(project, *arguments, f"{key}={folder}")
    assert str(folder) in line and f"{key}=/path" in line


@pytest.mark.long
@pytest.mark.parametrize("options", ["ro", "size=2m"])
def test_a_store_that_cannot_be_written_is_named(project: Path, disk: Disk, options: str) -> None:
    file = disk(options) / "mlflow.db"
    line = refusal(project, f"tracking.uri=sqlite:///{file}")
    assert str(file) in line and "tracking.uri=" in line


@pytest.mark.long
def test_a_read_only_data_dir_is_refused_before_the_network_is_tried(
    project: Path, disk: Disk, refusing: str
) -> None:
    folder = disk("ro")
    mirror = f"dataset.mirror=http://{refusing}"
    line = refusal(project, "dataset=fashion_mnist", f"data_dir={folder}", mirror)
    assert str(folder) in line and "data_dir=/path" in line and refusing not in line


@pytest.mark.long
def test_a_full_data_dir_is_refused(project: Path, disk: Disk, fashion_mnist: Path) -> None:
    folder = disk("size=36m")
    downloaded = shutil.ignore_patterns("*-ubyte")  # not what other tests extracted
    shutil.copytree(fashion_mnist / "FashionMNIST", folder / "FashionMNIST", ignore=downloaded)
    line = refusal(project, "dataset=fashion_mnist", f"data_dir={folder}")
    assert str(folder) in line and "data_dir=/path" in line


@pytest.mark.parametrize("sweep", [(), ("-m",)], ids=["run", "sweep"])
def test_what_is_refused_leaves_no_folder(project: Path, sweep: tuple[str, ...]) -> None:
    done = run(project, *sweep, "lr=-1")
    assert done.returncode == 2
    assert not list(project.glob("outputs/*/*"))


def test_what_is_refused_leaves_a_folder_that_holds_something(project: Path) -> None:
    folder = project / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("keep this")
    assert run(project, "lr=-1", f"hydra.run.dir={folder}").returncode == 2
    assert (folder / "notes.txt").read_text() == "keep this"
