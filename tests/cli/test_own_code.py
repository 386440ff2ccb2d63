"""Code of a user's own through the real command: found, checked, refused in one line."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.command import ROOT, follow, run
from support.pages import steps
from support.refusals import refusal as refused_by
from support.refusals import runs_in
from support.store import runs

refusal = partial(refused_by, run)
QUICK = ("epochs=1", "figures=none")
PAGE = ROOT / "docs" / "own-data-and-models.md"
NETS = """
import own_parts
from torch import nn

class Net(nn.Sequential):
    def __init__(self, input_shape, classes):
        super().__init__(nn.Flatten(), nn.Linear(64, own_parts.WIDTH), nn.Linear(4, classes))

class Pair(Net):
    def forward(self, images):
        return super().forward(images), images
"""


@pytest.fixture
def own(project: Path) -> Path:
    """A project with modules of its own beside conf/."""
    (project / "own_nets.py").write_text(NETS)
    (project / "own_parts.py").write_text("WIDTH = 4\n")
    for name in ("Net", "Pair", "Nets"):
        (project / f"conf/model/{name.lower()}.yaml").write_text(f"_target_: own_nets.{name}\n")
    return project


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-m", "model=net,pair"], ["gives a tuple of 2", "one tensor [2, 10]"]),
        (["model=nets"], ["did you mean own_nets.Net?"]),
    ],
)
def test_a_model_that_is_wrong_is_refused(
    own: Path, arguments: list[str], words: list[str]
) -> None:
    line = refusal(own, *arguments)
    assert [word for word in words if word not in line] == [], line
    assert not list(own.glob("outputs/*/*"))


@pytest.mark.long
def test_checking_shows_the_model_and_leaves_nothing_behind(own: Path) -> None:
    before = sorted(own.iterdir())
    done = run(own, "model=net", "check=true", cwd=own.parent)
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("Linear: 1-2", "[1, 10]", "310 parameters", "FLOP a sample", "about", "nothing"):
        assert words in done.stdout, done.stdout
    assert runs_in(own / "mlflow.db") == 0
    assert {*own.iterdir()} - {*before} <= {own / "data", own / "outputs"}
    assert not list(own.glob("outputs/*/*"))


@pytest.mark.long
def test_workers_find_a_module_beside_conf(own: Path) -> None:
    done = run(own, "-m", "model=net", "lr=0.01,0.1", "hydra.launcher.workers=2", *QUICK)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(runs(own)) == 2


@pytest.mark.long
def test_checking_a_sweep_shows_each_model_once(own: Path) -> None:
    done = run(own, "-m", "model=net,softmax", "lr=0.01,0.1", "check=true")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("model   ") == 2
    assert runs_in(own / "mlflow.db") == 0 and not list(own.glob("outputs/*/*"))


@pytest.mark.long
def test_the_page_is_followed_line_by_line_from_an_empty_folder(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    for name in ("cats", "dogs"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(10):
            pixels = random.randint(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    for file, text in steps(PAGE):
        if file:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text(text)
        elif text.startswith("python experiments/run.py"):
            follow(text, tmp_path)
