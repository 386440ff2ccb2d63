"""A person's own pictures in a run and in a sweep: what is said of them, and what is logged."""

import csv
from pathlib import Path

import pytest

from optsweep.records.run import NO_TEST
from support.command import run
from support.pictures import pictures
from support.store import QUICK, runs


@pytest.mark.long
def test_unbalanced_pictures_without_a_test_part_are_swept_and_nothing_false_is_said(
    project: Path,
) -> None:
    for part, count in (("Training", 9), ("valid", 4)):
        pictures(project / "pets" / part, count)
        for file in sorted((project / "pets" / part / "cat").iterdir())[: count - count // 3]:
            file.unlink()
    (project / "pets" / "valid" / "cat" / "notes.txt").write_text("")
    of = ("dataset=image_folder", "dataset.path=pets", "dataset.size=4", "lr=1e-2,1e-1")
    done = run(project, "-m", *of, *QUICK)
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    line = "image_folder pets: 2 classes, 12 train, 5 val, 4x4 RGB; skipped 1 (.txt)"
    assert first == line
    assert any(NO_TEST in each for each in lines) and "judged on test" not in done.stdout
    assert "validation balanced accuracy" in done.stdout
    (folder,) = (project / "outputs").glob("*/*")
    rows = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
    assert all(0 <= float(row["val/balanced_accuracy"]) <= 1 for row in rows)
    page = (folder / "report.html").read_text()
    assert NO_TEST in page and "balanced accuracy" in page
    found = [*runs(project, "sweep"), *runs(project)]
    assert {each.data.tags["optsweep.samples"] for each in found} == {line}
    assert not any(name.startswith("test/") for each in found for name in each.data.metrics)
    alone = run(project, *of[:-1], *QUICK)
    assert alone.returncode == 0, alone.stderr
    assert alone.stdout.splitlines()[0] == line and NO_TEST in alone.stdout
