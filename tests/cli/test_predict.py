"""`experiments/predict.py`: pictures in, their classes out; and a model that MLflow serves."""

import json
import os
import re
import socket
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.command import ROOT, follow, run, start
from support.pages import steps
from support.pictures import picture
from support.refusals import case

PAGE = ROOT / "docs" / "use-the-model.md"
PREDICT = "experiments/predict.py"


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one finished sweep on digits, whose model is one of MLflow's too."""
    from support.command import copy_project

    made = copy_project(tmp_path_factory.mktemp("swept") / "project")
    done = run(made, "-m", "lr=1e-2,1e-1", "epochs=1", "figures=none", "log_model=true")
    assert (done.returncode, done.stderr) == (0, "")
    (command,) = re.findall(r"^serve   (mlflow models serve .*)$", done.stdout, re.M)
    (made / "serve.txt").write_text(command)
    return made


def refused(project: Path, *arguments: str, **environment: str) -> str:
    """The line that refuses the arguments."""
    done = run(project, *arguments, script=PREDICT, env=environment)
    assert (done.returncode, done.stdout) == (2, ""), done
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.long
def test_pictures_are_named_and_drawn_beside_their_true_classes(swept: Path) -> None:
    for number, name in enumerate(("3", "3", "other", "8", "8")):
        picture(swept / "photos" / name / f"{number}.png", (number * 40,) * 3)
    done = run(swept, "model=latest", "pictures=photos", script=PREDICT, cwd=swept)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^ *picture +predicted +probability +true *$", done.stdout, re.M)
    assert re.search(r"^ *other/2.png +\d +0\.\d{4} +- *$", done.stdout, re.M)
    assert re.search(r"^accuracy 0\.\d{4} \(\d of 4\); 1 picture has", done.stdout, re.M)
    folder = swept / "outputs" / "predictions"
    assert f"picture  {folder / 'predictions.png'}" in done.stdout
    assert len((folder / "predictions.csv").read_text().splitlines()) == 6


@pytest.mark.long
def test_without_pictures_the_samples_are_predicted_that_judged_the_model(swept: Path) -> None:
    out = swept / "own"
    done = run(swept, f"out={out}", script=PREDICT)
    assert (done.returncode, done.stderr) == (0, "")
    table = run(swept, "sweep=latest", script="experiments/report.py").stdout
    (accuracy,) = re.findall(r"^accuracy (0\.\d{4}) \(\d+ of 359\)", done.stdout, re.M)
    assert accuracy in table
    assert (out / "predictions.png").exists() and "digits: 10 classes" in done.stdout


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        case("picture=a", "picture=a", "did you mean pictures=?"),
        case("model=outputs/no", "model=outputs/no:", "there is no such folder"),
        case("pictures=no", "pictures=no:", "there is no such folder or file"),
        case("tracking.uri=sqlite:///no.db", "no.db", "there is no such store"),
        case("model=" + "0" * 32, "no such run", "model=latest"),
        case("pictures=broken", "1 of 1 pictures cannot be read", "broken/a.png ("),
        case("pictures=conf", "pictures=conf: there is no picture", ".yaml"),
    ],
)
def test_what_cannot_be_predicted_is_one_line(
    swept: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(swept)
    (swept / "broken").mkdir(exist_ok=True)
    (swept / "broken/a.png").write_bytes(b"no picture")
    line = refused(swept, *arguments)
    assert [word for word in words if word not in line] == [], line


def test_a_typing_error_is_answered_before_torch_is_imported(project: Path, tmp_path: Path) -> None:
    for name in ("torch", "mlflow"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported')\n")
    for argument in ("pictures=no", "model=no", "photos"):
        refused(project, argument, PYTHONPATH=str(tmp_path))


@pytest.mark.long
def test_the_page_is_followed_line_by_line_from_an_empty_folder(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    for place in ("pictures/cats", "pictures/dogs", "photos"):
        (tmp_path / place).mkdir(parents=True)
        for number in range(5 if place == "photos" else 10):
            pixels = random.randint(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / place / f"{number}.png")
    said = []
    for file, text in steps(PAGE):
        if file:
            (tmp_path / file).write_text(text)
            continue
        said.append(follow(text, tmp_path))
    assert re.fullmatch(r"\[('(cats|dogs)'(, )?){5}\]\n", said[1])
    assert "5 pictures, whose true classes are not known" in said[2]
    assert re.search(r"\((1?\d|20) of 20\)", said[3])


@pytest.mark.long
def test_the_logged_model_is_served_by_mlflow(swept: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = (swept / "serve.txt").read_text().split()
    command = [sys.executable, "-m", *words, "--port", str(port)]
    store = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{swept}/mlflow.db",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    log = (swept / "server.txt").open("w")
    with start(command, swept, store, stdout=log, start_new_session=True) as server:
        try:
            answer = ask(f"http://127.0.0.1:{port}", [[[[16] * 8] * 8], [[[0] * 8] * 8]])
        except TimeoutError:
            raise AssertionError((swept / "server.txt").read_text()) from None
        finally:
            os.killpg(server.pid, 15)
    first, second = answer["predictions"]
    assert len(first["logits"]) == 10 and first["class"] in "0123456789"
    assert 0.1 <= first["probability"] <= 1 and first["logits"] != second["logits"]


def ask(address: str, images: object) -> dict[str, list[dict[str, Any]]]:
    """What a server says of images; it may still be starting."""
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(
        f"{address}/invocations", json.dumps({"inputs": images}).encode(), headers
    )
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"{address}/ping", timeout=30):
                break
        except OSError:
            time.sleep(0.5)
    else:
        raise TimeoutError(address)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        found: dict[str, list[dict[str, Any]]] = json.loads(answer.read())
        return found
