"""Predictions as a table, a file and a picture."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

from optsweep.report.predictions import MOST_ROWS, Predictions, draw, table, write_csv

FOUND = Predictions(
    names=["a.png", "b.png", "c.png"],
    predicted=["cat", "dog", "cat"],
    probabilities=[0.9, 0.75, 0.5],
    true=["cat", "cat", None],
    classes=["cat", "dog"],
)
UNKNOWN = replace(FOUND, true=[None] * 3)


def shown(found: Predictions) -> str:
    out = io.StringIO()
    Console(width=100, file=out).print(table(found))
    return out.getvalue()


def test_the_true_class_stands_beside_the_predicted_one_where_it_is_known() -> None:
    rows = [line.split() for line in shown(FOUND).splitlines()]
    assert ["picture", "predicted", "probability", "true"] in rows
    assert ["a.png", "cat", "0.9000", "cat"] in rows
    assert ["b.png", "dog", "0.7500", "cat"] in rows
    assert ["c.png", "cat", "0.5000", "-"] in rows
    assert "true" not in shown(UNKNOWN)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (FOUND, "accuracy 0.5000 (1 of 2); 1 picture has no known class"),
        (UNKNOWN, "3 pictures, whose true classes are not known"),
        (replace(FOUND, true=["cat", "dog", "cat"]), "accuracy 1.0000 (3 of 3)"),
    ],
)
def test_the_accuracy_is_that_on_pictures_whose_class_is_known(
    found: Predictions, words: str
) -> None:
    assert found.summary == words


def test_the_file_has_all_and_the_terminal_some(tmp_path: Path) -> None:
    many = Predictions(
        names=[f"{number}.png" for number in range(100)],
        predicted=["cat"] * 100,
        probabilities=[1.0] * 100,
        true=[None] * 100,
        classes=["cat"],
    )
    write_csv(many, tmp_path / "all.csv")
    lines = (tmp_path / "all.csv").read_text().splitlines()
    assert lines[0] == "picture,predicted,probability,true" and len(lines) == 101
    assert shown(many).count(".png") == MOST_ROWS


@pytest.mark.parametrize("found", [FOUND, UNKNOWN], ids=["some known", "none known"])
def test_the_picture_is_drawn(found: Predictions, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), dtype=np.uint8)
    draw(found, images, 255, tmp_path / "drawn.png")
    assert imread(tmp_path / "drawn.png").shape[2] == 4
