"""Keys that are proposed for runs of other programs, by what varies between them."""

import itertools
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optsweep.records.logged_run import LoggedRun
from optsweep.verdict.rows.keys import Keys
from optsweep.verdict.rows.logged_rows import rows_of
from optsweep.verdict.rows.metric_names import is_loss, split_of, words
from optsweep.verdict.rows.proposal import MISSING, propose

FEW = st.text("abcxyz_", min_size=1, max_size=6)


def grid(
    values: Mapping[str, Sequence[object]],
    metrics: Sequence[str] = ("test_acc",),
    same: Mapping[str, object] | None = None,
) -> list[LoggedRun]:
    """A run for each combination of values, all of which are parameters."""
    return [
        LoggedRun(
            run_id=f"{number:032x}",
            name=f"run-{number}",
            status="FINISHED",
            parent="",
            params={
                **{key: str(value) for key, value in zip(values, combination, strict=True)},
                **{key: str(value) for key, value in (same or {}).items()},
            },
            metrics=dict.fromkeys(metrics, 0.5),
            tags={"mlflow.user": f"user{number}"},
        )
        for number, combination in enumerate(itertools.product(*values.values()))
    ]


@pytest.mark.parametrize(
    ("name", "split", "loss"),
    [
        ("test_acc", "test", False),
        ("test/accuracy", "test", False),
        ("testAccuracy", "test", False),
        ("valloss", "val", True),
        ("eval_f1", "val", False),
        ("training_log_loss", "train", True),
        ("accuracy_score_X_test", "test", False),
        ("neg_mean_squared_error", "", False),
        ("value_loss", "", True),
        ("epoch", "", None),
        ("latest", "", None),
    ],
)
def test_names_of_metrics_say_what_they_are(name: str, split: str, loss: bool | None) -> None:
    assert (split_of(name), is_loss(name)) == (split, loss)


@given(st.text())
def test_any_name_of_a_metric_has_words(name: str) -> None:
    assert all(word == word.lower() for word in words(name))


@pytest.mark.parametrize(
    ("values", "metrics", "proposed"),
    [
        (
            {"optimizer": ["sgd", "adam"], "lr": [0.1, 0.01], "seed": [0, 1, 2]},
            ["test_acc", "val_acc", "val_loss", "epoch"],
            "candidate=optimizer configuration=lr seed=seed score=test_acc chosen_by=val_acc",
        ),
        (
            {"model__kernel": ["rbf", "linear"], "C": [1, 10], "random_state": [0, 1]},
            ["mean_test_score", "mean_fit_time"],
            "candidate=model__kernel configuration=C seed=random_state score=mean_test_score",
        ),
        (
            {"task": ["sst2", "cola"], "model": ["bert", "gpt"], "learning_rate": [1e-5, 3e-5]}
            | {"seed": [1, 2]},
            ["eval_loss", "train_runtime"],
            "candidate=model configuration=learning_rate seed=seed score=eval_loss workload=task "
            "higher=false",
        ),
        (
            {"lr": [0.1, 0.01], "fold": [0, 1, 2]},
            ["test_mse", "val_mse"],
            "candidate=lr seed=fold score=test_mse chosen_by=val_mse higher=false",
        ),
        (
            {"nesterov": [True, False], "lr": [0.1, 0.01, 1.0], "method": ["a", "b"]},
            ["reward"],
            "candidate=method configuration=lr,nesterov seed=? score=reward",
        ),
    ],
)
def test_what_varies_is_sorted_into_keys(
    values: dict[str, list[object]], metrics: list[str], proposed: str
) -> None:
    runs = grid(values, metrics, {"epochs": 5, "git": "abc", "device": "cpu"})
    bare = {
        key: value.replace("params.", "").replace("metrics.", "")
        for key, value in propose(runs, {}).keys.items()
    }
    assert " ".join(f"{key}={value}" for key, value in bare.items()) == proposed


def test_what_follows_from_the_candidate_is_no_configuration() -> None:
    runs = grid({"optimizer": ["sgd", "adam"], "seed": [0, 1]})
    own = {
        "sgd": {"momentum": "0.9", "cls": "torch.optim.SGD"},
        "adam": {"cls": "torch.optim.Adam"},
    }
    runs = [
        LoggedRun(**{**vars(run), "params": {**run.params, **own[run.params["optimizer"]]}})
        for run in runs
    ]
    assert "configuration" not in propose(runs, {}).keys


def test_paths_and_ids_are_named_as_not_used() -> None:
    runs = grid({"optimizer": ["sgd", "adam"], "seed": [0, 1, 2]})
    runs = [
        LoggedRun(**{**vars(run), "params": {**run.params, "out": f"/tmp/{run.name}"}})
        for run in runs
    ]
    proposal = propose(runs, {})
    assert "configuration" not in proposal.keys
    assert any(line == "Not used: params.out." for line in proposal.found)


def test_what_was_typed_stays() -> None:
    runs = grid({"optimizer": ["sgd", "adam"], "batch": [8, 16], "seed": [0, 1]}, ["a", "b"])
    proposal = propose(runs, {"candidate": "params.batch", "score": "metrics.b"})
    assert proposal.keys == {
        "candidate": "params.batch",
        "configuration": "params.optimizer",
        "seed": "params.seed",
        "score": "metrics.b",
    }


@settings(max_examples=60, deadline=None)
@given(
    optimizers=st.lists(FEW, min_size=2, max_size=4, unique=True),
    rates=st.lists(st.floats(1e-6, 10), min_size=1, max_size=4, unique=True),
    seeds=st.lists(st.integers(0, 10**6), min_size=2, max_size=4, unique=True),
    name=st.sampled_from(["optimizer", "model/optimizer", "optim.name", "hparams/method"]),
    seed=st.sampled_from(["seed", "random_state", "trainer/seed", "seed_everything", "data_seed"]),
    same=st.dictionaries(FEW, st.text(max_size=5), max_size=4),
)
def test_a_whole_grid_is_proposed_as_it_was_swept(
    optimizers: list[str],
    rates: list[float],
    seeds: list[int],
    name: str,
    seed: str,
    same: dict[str, str],
) -> None:
    runs = grid({name: optimizers, "lr": rates, seed: seeds}, ["test_acc", "val_acc"], same)
    keys = propose(runs, {}).keys
    assert keys["candidate"] == f"params.{name}" and keys["seed"] == f"params.{seed}"
    assert keys.get("configuration") == ("params.lr" if len(rates) > 1 else None)
    reading = rows_of(runs, Keys.of(keys))
    assert reading.problems == [] and len(reading.rows) == len(runs)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.builds(
            LoggedRun,
            run_id=st.uuids().map(str),
            name=st.text(max_size=3),
            status=st.sampled_from(["FINISHED", "FAILED", "KILLED", "RUNNING", "SCHEDULED"]),
            parent=st.sampled_from(["", "p"]),
            params=st.dictionaries(
                st.sampled_from(["optimizer", "lr", "seed", "data", "x", "fold"]),
                st.sampled_from(
                    ["0", "1", "0.5", "adam", "sgd", "None", "True", "[1, 2]", "", "ü"]
                ),
            ),
            metrics=st.dictionaries(
                st.sampled_from(["test_acc", "val_loss", "system/cpu", "epoch"]),
                st.floats(allow_nan=True),
            ),
            tags=st.dictionaries(st.sampled_from(["seed", "team", "mlflow.user"]), FEW),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_any_experiment_has_a_proposal_and_is_read_or_refused(runs: list[LoggedRun]) -> None:
    keys = dict(propose(runs, {}).keys)
    assert {"candidate", "seed", "score"} <= keys.keys()
    if MISSING not in keys.values():
        reading = rows_of(runs, Keys.of(keys))
        left = sum(reading.left_out.values())
        assert len(reading.rows) == len(reading.runs) and len(reading.rows) + left <= len(runs)
        assert reading.problems or len(reading.rows) + left == len(runs)
