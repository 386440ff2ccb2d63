"""`experiments/verdict.py`: a table of scores in, the answer and a file out, in seconds."""

import csv
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from optsweep.cli.commands.verdict import main
from support.command import ROOT, run

HEADER = ["candidate", "configuration", "seed", "score", "phase", "status"]


def judge(argument: str) -> subprocess.CompletedProcess[str]:
    return run(ROOT, argument, script="experiments/verdict.py")


def write(path: Path, *rows: Sequence[object]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def sweep(path: Path, seed: int = 0) -> Path:
    """Three candidates of four configurations at three seeds, confirmed at ten."""
    drawn = random.Random(seed)
    rows: list[list[object]] = [list(HEADER)]
    for name, best in (("adam", 0.95), ("rmsprop", 0.951), ("sgd", 0.91)):
        for number, rate in enumerate(("0.001", "0.003", "0.01", "0.1")):
            score = best - 0.05 * number
            rows += [[name, rate, n, score + drawn.gauss(0, 0.003), "tune", ""] for n in range(3)]
        rows += [
            [name, "0.001", n, best + drawn.gauss(0, 0.003), "confirm", "finished"]
            for n in range(10, 20)
        ]
    return write(path, *rows)


def test_a_table_is_answered(tmp_path: Path) -> None:
    done = judge(f"table={sweep(tmp_path / 'mine.csv')}")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    same = "rmsprop or adam: no practical difference (within 1 point, 10 seeds)."
    assert lines[0].startswith(f"{same} sgd is worse than rmsprop by ")
    assert lines[1] == "Best configuration (95 %): rmsprop 0.001; adam 0.001; sgd 0.001."
    assert lines[2].startswith("How sure: 95 % for 3 comparisons together, at 10 seeds")
    assert lines[-1] == f"verdict  {tmp_path / 'mine.verdict.json'}"
    content = json.loads((tmp_path / "mine.verdict.json").read_text())
    assert content["schema"] == "optsweep/verdict/2"
    (workload,) = content["workloads"]
    assert workload["sentences"] == lines[:-1]
    assert [pair["outcome"] for pair in workload["comparisons"]] == ["equivalent", "beats", "beats"]


def test_each_table_of_a_folder_is_judged_by_itself(tmp_path: Path) -> None:
    for number in range(3):
        sweep(tmp_path / f"t{number}.csv", number)
    write(tmp_path / "wrong.csv", ["candidate", "seed"], ["a", 1])
    done = judge(f"table={tmp_path}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "wrong.csv: line 1, column score" in done.stderr
    found = sorted(path.name for path in tmp_path.glob("*.json"))
    assert found == ["t0.verdict.json", "t1.verdict.json", "t2.verdict.json"]
    assert done.stdout.count("How sure:") == 3


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "line 1: the file is empty"),
        ([HEADER], "line 1: the table has no rows below its header"),
        ([["candidate", "seeds", "score"]], "line 1, column seed: there is no such column; rename"),
        ([["candidate", "seed", "score", "seed"]], "line 1, column seed: the header names it"),
        ([HEADER, ["a", "x", 0, "high", "", ""]], "line 2, column score: high is no number"),
        ([HEADER, ["a", "x", 0, "", "", ""]], "line 2, column score: the cell is empty, but"),
        ([HEADER, ["", "x", 0, 1, "", ""]], "line 2, column candidate: the cell is empty"),
        ([HEADER, [], ["a", "x", 0, 1, "test", ""]], "line 3, column phase: test: type tune or"),
        ([HEADER, ["a", "x", 0, 1, "", "done"]], "line 2, column status: done: type finished or"),
        ([HEADER, ["a", "x", 0]], "line 2, column score: there are 3 cells, where the header has"),
        (
            [HEADER, *(["a", "x", 0, 1, "", ""] for _ in range(2))],
            "line 3, column seed: a x has seed 0 twice",
        ),
        (
            [
                HEADER,
                ["a", "x", 0, 1, "", ""],
                ["a", "y", 0, 1, "", ""],
                ["a", "x", 0, 1, "confirm", ""],
            ],
            "line 4, column seed: seed 0 of a was used to tune; runs that confirm need other seeds",
        ),
    ],
)
def test_a_table_that_cannot_be_read_is_one_line(
    rows: list[list[object]],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write(tmp_path / "t.csv", *rows)
    assert main([f"table={path}"]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert f"error: {path}: {said}" in printed.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "table is missing; type table=PATH"),
        (["table=nowhere.csv"], "table=nowhere.csv: there is no such file or folder"),
        (["tabel=x"], "tabel=x: there is no such argument; did you mean table=?"),
        (["table={}", "higher=no"], "higher=no: type higher=true or higher=false"),
        (["table={}", "decided=1"], "decided=1: type decided=true or decided=false"),
        (["table={}", "margin=0"], "margin=0: type a number above 0"),
        (["table={}", "lost=none"], "lost=none: type a number, such as lost=0.1"),
        (["table={}"], "the folder has no file that ends in .csv"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([argument.format(tmp_path) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and said in printed.err


def test_a_score_that_is_no_number_has_diverged(tmp_path: Path) -> None:
    rows = [["a", "", n, score, "", ""] for n, score in enumerate((0.9, "nan", "inf", "1e300"))]
    path = write(tmp_path / "t.csv", HEADER, *rows, ["b", "", 0, 0.5, "", "finished"])
    assert main([f"table={path}"]) == 0
    content = json.loads((tmp_path / "t.verdict.json").read_text())
    found = {each["name"]: each for each in content["workloads"][0]["candidates"]}
    assert found["a"]["diverged"] == 3 and found["b"]["diverged"] == 0


def few(path: Path, spread: float = 0.002, phase: str = "", **means: float) -> Path:
    """Candidates at six seeds, each with one configuration; with two, of one without a phase."""
    drawn = random.Random(3)
    rows = [
        [name, configuration, seed, mean + drawn.gauss(0, spread), phase, ""]
        for name, mean in means.items()
        for configuration in (("x", "y") if phase == "tune" else ("x",))
        for seed in range(6)
    ]
    return write(path, HEADER, *rows)


@pytest.mark.parametrize(
    ("code", "spread", "phase", "means"),
    [
        pytest.param(0, 0.002, "", {"a": 0.9, "b": 0.8}, id="beats"),
        pytest.param(0, 0.0005, "", {"a": 0.9, "b": 0.9}, id="equivalent"),
        pytest.param(0, 0.0005, "", {"a": 0.905, "b": 0.9}, id="beats within the margin"),
        pytest.param(0, 0.0005, "", {"a": 0.9, "b": 0.9, "c": 0.5}, id="two are best"),
        pytest.param(3, 0.1, "", {"a": 0.9, "b": 0.9}, id="undecided"),
        pytest.param(3, 0.002, "tune", {"a": 0.9, "b": 0.8}, id="leads"),
        pytest.param(3, 0.002, "", {"a": 0.9}, id="nothing to compare"),
    ],
)
def test_decided_makes_the_exit_code_say_so(
    code: int, spread: float, phase: str, means: dict[str, float], tmp_path: Path
) -> None:
    path = few(tmp_path / "t.csv", spread, phase, **means)
    assert main([f"table={path}"]) == 0
    assert main([f"table={path}", "decided=false"]) == 0
    assert main([f"table={path}", "decided=true"]) == code


def test_the_most_serious_of_several_tables_is_the_exit_code(tmp_path: Path) -> None:
    few(tmp_path / "a.csv", a=0.9, b=0.8)
    assert main([f"table={tmp_path}", "decided=true"]) == 0
    few(tmp_path / "b.csv", a=0.9)
    assert main([f"table={tmp_path}", "decided=true"]) == 3
    write(tmp_path / "c.csv", ["candidate"])
    assert main([f"table={tmp_path}", "decided=true"]) == 2


def test_bytes_that_are_no_text_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"candidate,seed,score\n\xff\xfe,1,2\n")
    done = judge(f"table={tmp_path / 't.csv'}")
    assert done.returncode == 2 and "this is no text in UTF-8" in done.stderr


def test_neither_torch_nor_mlflow_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys; from optsweep.cli.commands import verdict; "
        f"assert verdict.main(['table={sweep(tmp_path / 't.csv')}']) == 0; "
        "assert not {'torch', 'mlflow', 'hydra', 'pandas', 'matplotlib'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=120)


@pytest.mark.long
def test_a_thousand_tables_take_less_than_a_minute(tmp_path: Path) -> None:
    for number in range(1000):
        sweep(tmp_path / f"{number}.csv", number)
    started = time.monotonic()
    done = judge(f"table={tmp_path}")
    assert done.returncode == 0 and time.monotonic() - started < 60
    assert len(list(tmp_path.glob("*.verdict.json"))) == 1000
