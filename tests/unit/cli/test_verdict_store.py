"""`verdict.py store=`: experiments of other programs in, the answer of `judge_table` out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from optsweep.cli.commands.verdict import main
from optsweep.verdict.scores.answer import as_json
from optsweep.verdict.scores.judge_table import judge_table
from optsweep.verdict.scores.rows import Row
from support.command import ROOT
from support.foreign import Foreign, bare, lightning

SCHEMA = json.loads((ROOT / "docs" / "verdict.schema.json").read_text())
LIGHTNING = (
    "candidate=params.optimizer/name configuration=params.optimizer/lr seed=params.seed_everything "
    "score=metrics.test_acc chosen_by=metrics.val_acc workload=params.data/name"
)
BARE = (
    "candidate=params.optimizer configuration=params.lr seed=params.seed score=metrics.acc "
    "chosen_by=metrics.val phase=tags.phase"
)


def judge(made: Foreign, folder: Path, keys: str = "", *more: str) -> int:
    where = [f"store={made.uri}", f"experiment={made.name}"]
    return main([*where, *keys.split(), *more, *([f"out={folder}"] if keys else [])])


def content(folder: Path) -> dict[str, Any]:
    """The numbers of an answer, without its sentences."""
    found: dict[str, Any] = json.loads((folder / "verdict.json").read_text())
    jsonschema.validate(found, SCHEMA)
    return without_sentences(found)


def without_sentences(found: Mapping[str, Any]) -> dict[str, Any]:
    workloads = [
        {key: value for key, value in each.items() if key != "sentences"}
        for each in found["workloads"]
    ]
    plain: dict[str, Any] = json.loads(json.dumps({**found, "workloads": workloads}))
    return plain


def of_table(rows: list[Row]) -> dict[str, Any]:
    answer = judge_table(rows)
    return without_sentences(as_json(answer, {each.name: [] for each in answer.workloads}))


@pytest.mark.long
def test_runs_of_lightning_are_judged_as_a_table_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = lightning(tmp_path / "theirs")
    assert judge(made, tmp_path / "answer", LIGHTNING) == 0
    rows = [
        Row(
            candidate=run.data.params["optimizer/name"],
            seed=run.data.params["seed_everything"],
            score=run.data.metrics["test_acc"],
            configuration=f"optimizer/lr={run.data.params['optimizer/lr']}",
            workload=f"data/name={run.data.params['data/name']}",
            chosen_by=run.data.metrics["val_acc"],
        )
        for run in reversed(made.client.search_runs([made.id]))
    ]
    assert len(rows) == 40
    assert content(tmp_path / "answer") == of_table(rows)
    said = capsys.readouterr().out
    assert "data/name=digits:\nadam leads, not confirmed. sgd is behind by" in said
    assert "data/name=wine:\nsgd leads, not confirmed. adam is behind by" in said
    assert "To confirm at fresh seeds, run adam optimizer/lr=0.001" in said
    assert said.endswith(f"report   {tmp_path / 'answer' / 'report.html'}\n")


def test_runs_of_bare_calls_are_judged_as_a_table_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = bare(tmp_path / "theirs")
    assert judge(made, tmp_path / "answer", BARE, "decided=true") == 0
    finished = [
        run
        for run in reversed(made.client.search_runs([made.id]))
        if "acc" in run.data.metrics and run.info.status == "FINISHED"
    ]
    rows = [
        Row(
            candidate=run.data.params["optimizer"],
            seed=run.data.params["seed"],
            score=run.data.metrics["acc"],
            configuration=f"lr={run.data.params['lr']}",
            phase="confirm" if run.data.tags["phase"] == "confirm" else "tune",
            chosen_by=run.data.metrics["val"],
        )
        for run in finished
    ]
    assert len(rows) == 2 * (2 * 3 + 5)
    assert content(tmp_path / "answer") == of_table(rows)
    said = capsys.readouterr().out
    assert said.startswith("adam is best. sgd is worse by")
    assert "adam at lr=0.001 beats sgd at lr=0.001 by" in said
    assert (
        "Left out: 1 run with others nested below; 1 run still running; 1 run killed; 1 run of "
        "another kind, without seed and score; 1 run failed and repeated." in said
    )


def test_what_leads_is_not_decided(tmp_path: Path) -> None:
    made = lightning(tmp_path / "theirs")
    assert judge(made, tmp_path / "answer", LIGHTNING, "decided=true") == 3


@pytest.mark.parametrize(("at", "score"), [("last", 0.5), ("max", 0.9)])
def test_at_says_which_value_of_a_metric_counts(at: str, score: float, tmp_path: Path) -> None:
    made = Foreign(tmp_path)
    for seed in range(3):
        made.log({"opt": "a", "seed": seed}, {"acc": [0.1, float("nan"), 0.9, 0.5]})
    keys = f"candidate=params.opt seed=params.seed score=metrics.acc at={at}"
    assert judge(made, tmp_path / "out", keys) == 0
    (workload,) = content(tmp_path / "out")["workloads"]
    assert workload["candidates"][0]["score"]["mean"] == pytest.approx(score)


def test_losses_are_judged_with_lower_as_better(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Foreign(tmp_path)
    for name, loss in (("a", 2.0), ("b", 3.0)):
        for seed in range(4):
            made.log(
                {"opt": name, "seed": seed}, {"test_loss": [9.0, loss + 0.01 * seed**2 * loss]}
            )
    keys = "candidate=params.opt seed=params.seed score=metrics.test_loss"
    assert judge(made, tmp_path / "out", keys) == 2
    assert "looks like a loss, where lower is better; add higher=false" in capsys.readouterr().err
    assert judge(made, tmp_path / "out", keys, "higher=false", "at=max") == 2
    assert "type at=min or at=last" in capsys.readouterr().err
    assert judge(made, tmp_path / "out", keys, "higher=false", "at=min") == 0
    said = capsys.readouterr().out
    assert said.startswith("a is best. b is worse by")
    assert "Each score is the lowest of all steps of metrics.test_loss" in said
    (workload,) = content(tmp_path / "out")["workloads"]
    assert workload["best"][0] == "a"


def test_a_broken_experiment_gives_a_list_of_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Foreign(tmp_path)
    params = {"opt": "a", "lr": 0.1, "seed": 0}
    fine = made.log(params, {"acc": 0.9}, name="fine")
    twin = made.log({**params, "batch_size": 64}, {"acc": 0.8}, name="twin")
    seedless = made.log({"opt": "a", "lr": 0.1}, {"acc": 0.9}, name="seedless")
    scoreless = made.log({**params, "seed": 1}, {}, name="scoreless")
    rateless = made.log({"opt": "a", "seed": 2}, {"acc": 0.9}, name="rateless")
    keys = "candidate=params.opt configuration=params.lr seed=params.seed score=metrics.acc"
    assert judge(made, tmp_path / "out", keys) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and not (tmp_path / "out").exists()
    assert printed.err.splitlines() == [
        "error: experiment=mine: 4 problems, nothing was judged",
        f"missing: run seedless ({seedless}) has no params.seed",
        f"missing: run scoreless ({scoreless}) has no metrics.acc",
        f"missing: run rateless ({rateless}) has no params.lr, which other runs of a have",
        f"doubled: a lr=0.1 has seed 0 2 times, fine ({fine}) and twin ({twin}); they differ in "
        "params.batch_size: add it to configuration=, or delete all but one",
        "Log what is missing, delete such runs in MLflow, or leave them out, for example with "
        "filter=\"attributes.run_id NOT IN ('ID', 'ID')\"",
    ]
    ids = ", ".join(f"'{each}'" for each in (twin, seedless, scoreless, rateless))
    assert judge(made, tmp_path / "out", keys, f"filter=attributes.run_id NOT IN ({ids})") == 0


def test_at_most_twenty_problems_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Foreign(tmp_path)
    made.log({"opt": "a", "seed": 0}, {"acc": 0.9})
    for _ in range(25):
        made.log({"opt": "a"}, {"acc": 0.9})
    keys = "candidate=params.opt seed=params.seed score=metrics.acc"
    assert judge(made, tmp_path / "out", keys) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 + 20 + 2 and lines[21] == "and 5 more"


def test_a_seed_that_confirms_and_chose_is_named_with_its_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Foreign(tmp_path)
    for rate in (0.1, 0.2):
        made.log({"opt": "a", "lr": rate, "seed": 0, "phase": "tune"}, {"acc": 0.9})
    run = made.log({"opt": "a", "lr": 0.1, "seed": 0, "phase": "confirm"}, {"acc": 0.9}, name="x")
    keys = "candidate=params.opt configuration=params.lr seed=params.seed score=metrics.acc"
    assert judge(made, tmp_path / "out", keys, "phase=params.phase") == 2
    assert f"wrong: run x ({run}): seed 0 of a was used to tune" in capsys.readouterr().err


def test_a_seed_that_only_one_candidate_has_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Foreign(tmp_path)
    for name, seeds in (("a", range(5)), ("b", range(3))):
        for seed in seeds:
            made.log({"opt": name, "seed": seed}, {"acc": 0.9 + 0.001 * seed**2})
    keys = "candidate=params.opt seed=params.seed score=metrics.acc"
    assert judge(made, tmp_path / "out", keys) == 0
    assert (
        "unpaired: b has no run with seed 3 and 4, and a has; run it, or only shared seeds count"
        in capsys.readouterr().out
    )


def test_a_failed_or_diverged_run_counts_as_lost(tmp_path: Path) -> None:
    made = Foreign(tmp_path)
    for seed in range(4):
        made.log({"opt": "a", "seed": seed}, {"acc": 0.9 + 0.001 * seed**2})
        made.log({"opt": "b", "seed": seed}, {"acc": 0.8 if seed else float("nan")})
    made.log({"opt": "b", "seed": 4}, {}, status="FAILED")
    keys = "candidate=params.opt seed=params.seed score=metrics.acc lost=0.1"
    assert judge(made, tmp_path / "out", keys) == 0
    (workload,) = content(tmp_path / "out")["workloads"]
    (b,) = [each for each in workload["candidates"] if each["name"] == "b"]
    assert (b["diverged"], b["failed"], b["judged_runs"]) == (1, 1, 5)
    assert b["score"]["mean"] == pytest.approx((3 * 0.8 + 2 * 0.1) / 5)


def test_without_keys_a_line_is_proposed_that_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = lightning(tmp_path / "theirs")
    assert judge(made, tmp_path) == 2
    printed = capsys.readouterr()
    assert printed.err == ""
    *found, line = printed.out.splitlines()
    assert found[0] == "Experiment lightning_logs"
    assert found[1] == "40 runs: 40 finished."
    assert "params.optimizer/name (adam, sgd)" in found[2]
    assert "params.seed_everything (5 numbers, 0 to 4)" in found[2]
    assert line.endswith(
        f"verdict.py store={made.uri} experiment=lightning_logs candidate=params.optimizer/name "
        "configuration=params.optimizer/lr seed=params.seed_everything score=metrics.test_acc "
        "chosen_by=metrics.val_acc workload=params.data/name"
    )
    assert main([*line.split()[2:], f"out={tmp_path / 'out'}"]) == 0


def test_what_nothing_was_found_for_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Foreign(tmp_path)
    for name in ("a", "b"):
        made.log({"opt": name}, {"loss": 0.3})
    assert judge(made, tmp_path, "", "margin=0.1") == 2
    said = capsys.readouterr().out
    assert "Nothing was found for what repeats share, as seed=params.seed" in said
    assert "candidate=params.opt 'seed=?' score=metrics.loss higher=false margin=0.1" in said


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("table=x store=y", "table= and store= are both given; type one"),
        ("table=x at=max", "at= is for store=; a table has columns; leave it out"),
        ("experiment=x", "store is missing, as experiment= is given; type store=URI"),
        ("store={uri}", "experiment is missing; type experiment=NAME; experiments there: mine"),
        ("store={uri} experiment=mein", "did you mean experiment=mine? experiments there: mine"),
        ("store={uri} experiment=mine seed=seed", "type for example seed=params.seed"),
        ("store={folder}/no.db experiment=mine", "no.db; type where the runs are"),
        ("store=sqlite:///{folder}/no.db experiment=mine", "no.db; type where the runs are"),
        ("store=file://{folder}/no experiment=mine", "no; type where the runs are"),
        ("store={folder} experiment=mine", "type store=sqlite:///{folder}/mlflow.db"),
        ("store=localhost:5000 experiment=mine", "type store=http://localhost:5000"),
        ("store=http://127.0.0.1:9 experiment=mine", "store=http://127.0.0.1:9 does not answer"),
        ("store={uri} experiment=mine {keys} at=best", "at=best: type at=last, at=min or at=max"),
        ("store={uri} experiment=mine {keys} phase=tags.x", "phase=tags.x: no run has it"),
        ("store={uri} experiment=mine {keys} filter=nonsense", "filter=nonsense: "),
        (
            "store={uri} experiment=mine {keys} workload=params.opt",
            "params.opt stands in candidate= and in workload=; type it in one",
        ),
        (
            "store={uri} experiment=mine {keys} chosen_by=metrics.val_loss",
            "chosen_by=metrics.val_loss: its lower values are better",
        ),
        (
            "store={uri} experiment=mine candidate=params.op seed=params.seed score=metrics.acc",
            "candidate=params.op: no run has it; did you mean candidate=params.opt?",
        ),
        ("store={uri} experiment=mine decided=yes", "type decided=true or decided=false"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    typed: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Foreign(tmp_path)
    made.log({"opt": "a", "seed": 0}, {"acc": 0.9, "val_loss": 0.1})
    before = [each.name for each in made.client.search_experiments()]
    keys = "candidate=params.opt seed=params.seed score=metrics.acc"
    words = {"uri": made.uri, "folder": str(tmp_path), "keys": keys}
    capsys.readouterr()  # what MLflow logs of the first store of a process
    assert main([each.format(**words) for each in typed.format_map(words).split(" ")]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1, printed.err
    assert said.format(**words) in printed.err
    assert [each.name for each in made.client.search_experiments()] == before
    assert {path.name.partition(".db")[0] for path in tmp_path.iterdir()} == {"mlflow"}


def test_a_page_shows_the_answer_and_escapes_what_others_wrote(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>"
    made = Foreign(tmp_path, f"mine/{nasty}")
    for name in ("a", nasty):
        for seed in range(3):
            made.log({"opt": name, "seed": seed}, {"acc": 0.9 + 0.001 * seed**2})
    where = [f"store={made.uri}", f"experiment={made.name}", f"out={tmp_path / 'out'}"]
    assert main([*where, "candidate=params.opt", "seed=params.seed", "score=metrics.acc"]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page
    assert "data:image/svg+xml;base64," in page
    assert "http" not in page.replace("http-equiv", "")
