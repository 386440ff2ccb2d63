"""Whatever is typed wrongly is refused in one line, with code 2, before anything starts.

The line has to say what was given and what to type instead; its wording is free. What conf/ alone
shows is refused before torch and mlflow are imported. The same for the real command is in
tests/cli/test_refusals.py, for one case of each kind.
"""

import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import mlflow
import pytest
from alembic.script import ScriptDirectory
from hydra.errors import ConfigCompositionException, HydraException, OverrideParseException
from PIL import Image

from optsweep.cli.input_errors import in_one_line
from optsweep.tracking.store import Store
from support.in_process import run_here
from support.refusals import case
from support.refusals import refusal as refused_by

refusal = partial(refused_by, run_here)

SOON = 15.0  # seconds within which what does not answer has to be named


@pytest.fixture
def from_conf_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes it an error to come to where torch and mlflow are imported."""

    def refuse() -> None:
        raise AssertionError("torch is imported for a typing error")

    monkeypatch.setattr("optsweep.system.process.begin", refuse)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second until a server that does not answer counts as out of reach, not five."""
    monkeypatch.setattr("optsweep.data.download.PATIENCE", 0.5)
    monkeypatch.setattr("optsweep.tracking.timeouts.PATIENCE", 0.5)


# Refused by conf/ alone


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        # values
        case("lr=0", "lr=0:", "above 0", "lr=1e-3"),
        case("lr=-1", "lr=-1:", "above 0"),
        case("lr=abc", "lr=abc:", "lr=1e-3"),
        case("lr=nan", "lr=nan:", "finite"),
        case("lr=1e400", "lr=inf:", "finite"),
        case("lr=", "lr=:", "lr=1e-3"),
        case("lr=null", "lr=null:", "lr=1e-3"),
        case("lr=[1e-3,1e-1]", "lr=[0.001, 0.1]", "-m lr=0.001,0.1"),
        case("batch_size=0", "batch_size=0:", ">= 1", "batch_size=64"),
        case("epochs=0", "epochs=0:", ">= 1"),
        case("epochs=1.5", "epochs=1.5:", "integer"),
        case("epochs=1e3", "epochs=1000.0:", "type for example epochs=1000"),
        case("seed=-1", "seed=-1:", ">= 0"),
        case("val_fraction=1", "val_fraction=1:", "val_fraction=0.1"),
        case("val_fraction=-0.1", "val_fraction=-0.1:"),
        case("threads=0", "threads=0:", ">= 1"),
        case("log_every=0", "log_every=0:", ">= 1"),
        case("target=85", "target=85:", "above 0 and at most 1", "target=0.85"),
        case("target=0", "target=0:", "above 0 and at most 1"),
        case("extend=-1", "extend=-1:", ">= 0"),
        case("evaluate_first=no", "evaluate_first=no:", "evaluate_first=false"),
        case("device=gpu", "device=gpu:", "device=cuda"),
        case("device=CUDA", "device=CUDA:", "device=cuda"),
        case("precision=fp8", "precision=fp8:", "fp32, tf32, bf16", "precision=fp32"),
        case("precision=FP16", "precision=FP16:", "precision=bf16"),
        case("figures=some", "figures=some:", "none, best, all"),
        case("data_dir=", "data_dir=:", "data_dir=/path/to/folder"),
        case("tracking.uri=null", "tracking.uri=:", "tracking.uri=sqlite:///"),
        case("tracking.experiment=5", "tracking.experiment=5:", """'tracking.experiment="5"'"""),
        case("tracking=foo", "tracking=foo:", "tracking.uri="),
        case("tracking.uri=./mlruns", "tracking.uri=./mlruns:", "tracking.uri=sqlite:////"),
        case("tracking.uri=localhost:5000", "type tracking.uri=http://localhost:5000"),
        case("tracking.uri=sqlite:/tmp/mlflow.db", "type tracking.uri=sqlite:////tmp/mlflow.db"),
        case("dataset.limit=0", "dataset.limit=0:", ">= 1"),
        case("dataset.shuffle=no", "dataset.shuffle=no:", "dataset.shuffle=false"),
        # options
        case("optimizer=adm", "optimizer=adm:", "adam, adamax, adamw", "type optimizer=adam"),
        case("optimizer=Adam", "optimizer=Adam:", "type optimizer=adam"),
        case("optimizer=", "optimizer=:", "adam, adamax, adamw", "type optimizer=sgd"),
        case("optimizer=1", "optimizer=1:", "adagrad, adam, adamax, adamw", "type optimizer="),
        case("optimizer=conf/optimizer/adam.yaml", "adagrad, adam", "type optimizer=adam"),
        case("optimizer=[sgd,adam]", "optimizer", "-m optimizer="),
        case("dataset=cifar", "dataset=cifar:", "type dataset=cifar10"),
        case("dataset=FashionMNIST", "type dataset=fashion_mnist"),
        case("preset=fashion", "preset=fashion:", "quickstart", "type preset=fashion_mlp"),
        case("preset=null", "preset=null:", "quickstart", "type preset=none"),
        case("hydra/launcher=lokal", "hydra/launcher=lokal:", "type hydra/launcher=local"),
        # names
        case("optimzer=adam", "optimzer=adam:", "type optimizer=adam"),
        case("optimzer.momentum=0.9", "type optimizer.momentum=0.9"),
        case("batch-size=32", "batch-size=32:", "type batch_size=32"),
        case("learning_rate=0.1", "learning_rate=0.1:", "type lr=0.1"),
        case("momentum=0.9", "momentum=0.9:", "type optimizer.momentum=0.9"),
        case("hidden=[32]", "hidden=[32]:", "type 'model.hidden=[32]'"),
        case("workers=2", "workers=2:", "type hydra.launcher.workers=2"),
        case("foo=1", "foo=1:", "optimizer", "batch_size", "preset"),
        case("+foo=1", "foo=1:", "optimizer", "batch_size", "preset"),
        case("optimizer.momentun=0.9", "optimizer=sgd", "type optimizer.momentum=0.9"),
        case(
            "optimizer=momentum optimizer.momentun=0.9",
            "optimizer.momentun=0.9:",
            "optimizer=momentum",
            "type optimizer.momentum=0.9",
        ),
        case("optimizer=adam optimizer.momentum=0.9", "optimizer=adam has no", "optimizer=rmsprop"),
        case("optimizer.foo=1", "optimizer.foo=1:", "weight_decay", "type +optimizer.foo=1"),
        case("optimizer.lr.foo=1", "optimizer.lr is a single value"),
        case("tracking.url=x", "tracking.url=x:", "type tracking.uri=x"),
        case("optimzer=adam batchsize=3", "optimzer=adam:", "type optimizer=adam"),
        case("+lr=0.1", "+lr=0.1:", "type lr=0.1"),
        case("+optimizer=adam", "+optimizer=adam:", "type optimizer=adam"),
        case("++optimizer=adam", "++optimizer=adam:", "type optimizer=adam"),
        case("~foo", "~foo:", "leave it out"),
        case("~lr", "leave ~lr out"),
        case("~seed", "seed"),
        # several values without -m
        case("lr=1e-3,1e-1", "lr=1e-3,1e-1:", "run.py -m lr=1e-3,1e-1"),
        case("optimizer=sgd,adam lr=1", "run.py -m optimizer=sgd,adam lr=1"),
        case("seed=range(3)", "seed=range(3):", "run.py -m 'seed=range(3)'"),
        case("lr=0,01", "run.py -m lr=0,01", "type lr=0.01"),
        case("model.hidden=64,32", "-m model.hidden=64,32", "type 'model.hidden=[64,32]'"),
        # not NAME=VALUE
        case("lr=[1", "lr=[1:", "type 'lr=[1]'"),
        case("lr=1]", "lr=1]:", "type lr=1"),
        case("lr = 1e-3", "type, without spaces, lr=1e-3"),
        case("lr= 1e-3", "type, without spaces, lr=1e-3"),
        case("lr 1e-3", "type lr=1e-3"),
        case("lr:1e-3", "type lr=1e-3"),
        case("lr==1e-3", "lr==1e-3:", "type lr=1e-3"),
        case("=1e-3", "=1e-3:", "NAME=VALUE"),
        case("adam", "type optimizer=adam"),
        case("conf/preset/fashion_mlp.yaml", "type preset=fashion_mlp"),
        case("nonsense", "nonsense", "NAME=VALUE"),
        case("'lr=1e-3 optimizer=adam'", "several arguments in one"),
        case("lr=1e-3, 1e-1", "without spaces", "-m lr=1e-3,1e-1"),
        case("'data_dir=/tmp/a(1)'", """type 'data_dir="/tmp/a(1)"'"""),
        case("'lr=${foo}'", "lr=${foo}:", "does not exist"),
        case("'lr=${oc.env:NOWHERE}'", "NOWHERE is not set"),
        # flags
        case("--lr=0.1", "--lr=0.1:", "type lr=0.1"),
        case("--lr 0.1", "--lr:", "type lr=0.1"),
        case("--batch-size 32", "type batch_size=32"),
        case("--multi-run lr=1e-3,1e-1", "--multi-run:", "type --multirun"),
        case("-c", "expected one argument"),
        case("-m --cfg job", "Only one of"),
        case("--config-name=foo", "foo"),
        case("--config-dir=/nowhere", "/nowhere"),
    ],
)
def test_a_typing_error_is_answered_before_torch_is_imported(
    project: Path, from_conf_alone: None, arguments: list[str], words: tuple[str, ...]
) -> None:
    line = refusal(project, *arguments)
    assert [word for word in words if word not in line] == [], line


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        case("-m lr=1e-3,0", "lr=0:", "lr=1e-3"),
        case("-m lr=1e-3,abc seed=0,1", "lr=abc:"),
        case("-m optimizer=sgd,adm", "optimizer=adm:", "type optimizer=adam"),
        case("-m optimzer=sgd,adam", "type optimizer=sgd,adam"),
        case("-m optimizer=sgd,adam optimizer.momentum=0.9", "optimizer=adam has no", "rmsprop"),
        case("-m preset=none,null", "preset=none,null:", "type preset=none"),
        case("-m lr=1e-3,", "lr=1e-3,:", "type, without spaces, lr=1e-3"),
        case("-m 'lr=1e-3;1e-1'", "type lr=1e-3,1e-1"),
        case("-m 'lr=rang(1,3)'", "type 'lr=range(1,3)'"),
        case("-m 'lr=choice()'", "lr=choice()"),
        case("-m 'lr=interval(0,1)'", "lr=interval(0,1)"),
        case("-m 'lr=range(1,0)'", "no runs"),
        case("-m 'optimizer=glob(x*)'", "no runs"),
        case("-m hydra.run.dir=a,b", "hydra.run.dir=a,b:"),
        case("-m hydra.launcher=local lr=1,2", "type hydra/launcher=local"),
        case("-m hydra.launcher.workers=-1 lr=1,2", "hydra.launcher.workers=-1:", "auto"),
        case("-m hydra.launcher.stack=0 lr=1,2", "hydra.launcher.stack=0:", "auto"),
        case("-m hydra.launcher.stack=many lr=1,2", "hydra.launcher.stack=many:"),
        case("-m confirm=1 lr=1,2", "confirm=1:", "auto or an integer >= 2", "confirm=5"),
        case("-m margin=0 lr=1,2", "margin=0:", "above 0 and below 1", "margin=0.01"),
        case("-m max_seeds=2 lr=1,2", "max_seeds=2:", ">= 3"),
        case("-m stack=8 lr=1,2", "type hydra.launcher.stack=8"),
        case("epochs=1 -m lr=1,2", "lr=1,2:", "run.py -m epochs=1 lr=1,2"),
        case("-m optimizer.lr=0.1 lr=1,2", "lr=1,2:", "leave optimizer.lr=0.1 out"),
        case("-m hydra.launcher.timeout=long lr=1,2", "hydra.launcher.timeout=long:"),
        case("-m hydra.launcher.worker=2 lr=1,2", "type hydra.launcher.workers=2"),
    ],
)
def test_one_bad_value_among_good_ones_starts_nothing(
    project: Path, from_conf_alone: None, arguments: list[str], words: tuple[str, ...]
) -> None:
    line = refusal(project, *arguments)
    assert [word for word in words if word not in line] == [], line


def test_a_password_in_an_argument_is_not_repeated(project: Path, from_conf_alone: None) -> None:
    uri = "tracking.uri=postgresql://ann:se=cret@host/x"
    assert "cret" not in refusal(project, uri)
    assert "cret" not in refusal(project, f"{uri},{uri}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("_target_: [torch.optim.SGD\n", ("mine.yaml",), id="broken YAML"),
        pytest.param("lr: 1\n", ("_target_",), id="no target"),
    ],
)
def test_a_new_file_that_is_wrong_is_named(
    project: Path, from_conf_alone: None, text: str, words: tuple[str, ...]
) -> None:
    (project / "conf" / "optimizer" / "mine.yaml").write_text(text)
    line = refusal(project, "optimizer=mine")
    assert [word for word in words if word not in line] == [], line


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ConfigCompositionException("Could not override 'x'."), id="no conf at hand"),
        pytest.param(HydraException(""), id="no text"),
        pytest.param(HydraException("one\ntwo"), id="two lines"),
        pytest.param(OverrideParseException("a=[", "no viable\nalternative"), id="nothing typed"),
        pytest.param(OverrideParseException("a", "missing EQUAL"), id="a word not typed"),
        pytest.param(OSError(2, "No such file", "/x"), id="a folder"),
        pytest.param(ValueError("Config group override must be a string"), id="no group"),
    ],
)
@pytest.mark.parametrize("arguments", [[], ["", "=", "~", "a=${", "--", "-m"]], ids=["none", "odd"])
def test_any_error_becomes_one_line(error: Exception, arguments: list[str]) -> None:
    line = in_one_line(error, arguments)
    assert line and "\n" not in line


# Refused after the model, the optimizer and the data were tried


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        case("device=cuda", "device=cuda:", "cpu", "device=auto"),
        case("device=cpu precision=tf32", "precision=tf32", "device=cpu", "precision=fp32"),
        case("model=cnn", "model=cnn:", "8x8", "dataset.resize=32", "softmax, mlp, resnet18"),
        case(
            "model=scratch_softmax",
            "loss=cross_entropy",
            "model=scratch_softmax",
            "loss=scratch_cross_entropy",
        ),
        case("model.hidden=[0]", "hidden=[0]", "'model.hidden=[512,512]'"),
        case(
            "optimizer=adam optimizer.betas=[2,0.9]",
            "optimizer.betas=[2,0.9]",
            "'optimizer.betas=[0.9,0.999]'",
        ),
        case("optimizer.nesterov=yes", "optimizer.nesterov=yes:", "optimizer.nesterov=true"),
        case("dataset.limit=999999", "dataset.limit=999999:", "1438"),
        case("schedule=step schedule.step_size=0", "schedule=step"),
        case("loss.label_smoothing=2", "loss=cross_entropy", "label_smoothing"),
    ],
)
def test_what_cannot_work_together_is_refused_before_the_run(
    project: Path, arguments: list[str], words: tuple[str, ...]
) -> None:
    line = refusal(project, *arguments, env={"CUDA_VISIBLE_DEVICES": ""})
    assert [word for word in words if word not in line] == [], line


# Pictures of one's own


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(path)


def no_folder(root: Path) -> tuple[str, ...]:
    return (str(root), "dataset.path")


def empty_folder(root: Path) -> tuple[str, ...]:
    root.mkdir()
    return (str(root), "one per class")


def broken_picture(root: Path) -> tuple[str, ...]:
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        picture(root / name)
    broken = root / "dog" / "2.png"
    broken.write_bytes(broken.read_bytes()[:40])
    return (str(broken), "remove it")


def other_classes_in_test(root: Path) -> tuple[str, ...]:
    for name in ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/cow/1.png"):
        picture(root / name)
    return ("dog", "cow", str(root / "train"), str(root / "test"))


@pytest.mark.parametrize(
    "prepare", [no_folder, empty_folder, broken_picture, other_classes_in_test]
)
def test_a_folder_of_pictures_that_cannot_be_used_is_named(
    project: Path, prepare: Callable[[Path], tuple[str, ...]]
) -> None:
    root = project / "pictures"
    words = prepare(root)
    line = refusal(project, "dataset=image_folder", f"dataset.path={root}")
    assert [word for word in words if word not in line] == [], line


def test_a_folder_of_pictures_is_asked_for(project: Path) -> None:
    assert "dataset.path=/path" in refusal(project, "dataset=image_folder")


# Downloads


@pytest.mark.parametrize(
    ("dataset", "name", "content"),
    [
        pytest.param(
            "fashion_mnist",
            "FashionMNIST/raw/train-labels-idx1-ubyte.gz",
            b"half a download",
            id="download",
        ),
        pytest.param(
            "mnist",
            "MNIST/raw/t10k-images-idx3-ubyte",
            b"\0\0\x08\x03" + bytes([0, 0, 0x27, 0x10, 0, 0, 0, 28, 0, 0, 0, 28]) + b"\0" * 99,
            id="extracted",
        ),
        pytest.param("cifar10", "cifar-10-python.tar.gz", b"half", id="archive"),
        pytest.param("cifar10", "cifar-10-batches-py/data_batch_3", b"half", id="batch"),
    ],
)
def test_a_corrupt_file_is_named_with_what_to_delete(
    project: Path, dataset: str, name: str, content: bytes
) -> None:
    file = project / "data" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    line = refusal(project, f"dataset={dataset}")
    assert f"rm '{file}'" in line


@pytest.fixture
def refusing() -> Iterator[str]:
    """An address at which nothing listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{reserved.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def failing() -> Iterator[str]:
    """An address that answers every request with 503, as a proxy does whose server is down."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(503)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextmanager
def soon() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SOON


@pytest.mark.parametrize("kind", ["refusing", "silent"])
def test_without_a_network_the_file_its_place_and_a_way_out_are_named(
    project: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    mirror = f"dataset.mirror=http://{request.getfixturevalue(kind)}"
    with soon():
        line = refusal(project, "dataset=fashion_mnist", mirror)
    raw = project / "data" / "FashionMNIST" / "raw"
    for word in ("train-images-idx3-ubyte.gz", str(raw), "dataset.mirror=", "dataset=digits"):
        assert word in line


def test_the_official_addresses_out_of_reach_are_named_too(project: Path, refusing: str) -> None:
    proxy = {"https_proxy": f"http://{refusing}", "http_proxy": f"http://{refusing}"}
    with soon():
        line = refusal(project, "dataset=cifar10", env={**proxy, "no_proxy": ""})
    for word in ("cifar-10-python.tar.gz", str(project / "data"), "dataset=digits"):
        assert word in line


# The MLflow store


@pytest.mark.long
@pytest.mark.parametrize("kind", ["refusing", "silent", "failing"])
@pytest.mark.parametrize("sweep", [[], ["-m", "seed=0,1"]], ids=["run", "sweep"])
def test_a_tracking_server_that_does_not_answer_is_refused_before_training(
    project: Path,
    from_conf_alone: None,
    kind: str,
    sweep: list[str],
    request: pytest.FixtureRequest,
) -> None:
    uri = f"http://{request.getfixturevalue(kind)}"
    with soon():
        line = refusal(project, *sweep, f"tracking.uri={uri}")
    assert f"tracking.uri={uri}" in line and "does not answer" in line


def test_a_database_out_of_reach_is_named_without_its_password(
    project: Path, from_conf_alone: None
) -> None:
    uri = "tracking.uri=postgresql://ann:secret@localhost:1/x"
    with soon():
        line = refusal(project, uri)
    assert "localhost:1/x" in line
    assert "secret" not in line


def test_a_silent_database_is_not_waited_for(
    project: Path, from_conf_alone: None, silent: str
) -> None:
    uri = f"tracking.uri=postgresql://ann:secret@{silent}/x"
    with soon():
        line = refusal(project, uri)
    assert silent in line
    assert "secret" not in line


def test_an_address_in_the_environment_is_checked_too(project: Path, from_conf_alone: None) -> None:
    line = refusal(project, env={"MLFLOW_TRACKING_URI": "./mlruns"})
    assert f"tracking.uri=sqlite:///{project}/mlruns/mlflow.db" in line


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as this MLflow makes it, without a run."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    Store.open(f"sqlite:///{file}", "optsweep")
    return file


@pytest.mark.long
@pytest.mark.parametrize(
    ("newer", "instead"), [(True, "pip install --upgrade mlflow"), (False, "mlflow db upgrade")]
)
def test_a_store_of_another_mlflow_is_refused_with_what_to_do(
    project: Path, store: Path, newer: bool, instead: str
) -> None:
    file = shutil.copy(store, project / "mlflow.db")
    scripts = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    head = scripts.get_revision(scripts.get_current_head() or "")
    revision = "f" * 12 if newer else str(head.down_revision)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("update alembic_version set version_num = ?", [revision])
    line = refusal(project)
    assert str(file) in line and mlflow.__version__ in line and instead in line
