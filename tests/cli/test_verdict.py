"""Real sweeps end in a verdict, every number of which the store gives again."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

from support.command import copy_project, run
from support.store import artifacts, by_name, client, history, runs

Content = Mapping[str, Any]


def verdict_of(project: Path, folder: str = "outputs/2*/*") -> Content:
    (path,) = project.glob(f"{folder}/verdict.json")
    content: Content = json.loads(path.read_text())
    return content


class Recomputed:
    """The runs of a project's store, read one by one with MLflow's own client."""

    def __init__(self, project: Path) -> None:
        self.runs: dict[tuple[str, float, int], dict[str, Any]] = {}
        for each in runs(project):
            params, tags = each.data.params, each.data.tags
            names = ("val/accuracy", "val/loss", "test/accuracy", "epoch_seconds")
            points = {name: history(project, each.info.run_id, name) for name in names}
            key = (params["optimizer"], float(params["lr"]), int(params["seed"]))
            self.runs[key] = {
                "id": each.info.run_id,
                "sound": each.info.status == "FINISHED" and "optsweep.diverged" not in tags,
                **points,
            }
        self.seeds = sorted({seed for _, _, seed in self.runs})

    def last(self, optimizer: str, lr: float, metric: str) -> list[float]:
        """The last epoch's value at each seed that ended soundly."""
        own = [self.runs[optimizer, lr, seed] for seed in self.seeds]
        return [one[metric][-1][1] for one in own if one["sound"]]

    def rates(self, optimizer: str) -> list[float]:
        return sorted({lr for name, lr, _ in self.runs if name == optimizer})

    def choosing(self, optimizer: str, lr: float, lost: float) -> list[float]:
        """The last validation accuracy at each seed; a lost run counts as chance."""
        own = [self.runs[optimizer, lr, seed] for seed in self.seeds]
        return [one["val/accuracy"][-1][1] if one["sound"] else lost for one in own]

    def best(self, optimizer: str, lost: float) -> float:
        def key(lr: float) -> tuple[float, float]:
            losses = self.last(optimizer, lr, "val/loss") or [math.inf]
            return float(np.mean(self.choosing(optimizer, lr, lost))), -float(np.mean(losses))

        return max(self.rates(optimizer), key=key)


def details_of(found: Content, name: str) -> Content:
    (workload,) = found["sweep"]["workloads"]
    details: Content = next(each for each in workload["candidates"] if each["name"] == name)
    return details


def check_candidates(found: Content, store: Recomputed) -> None:
    (workload,) = found["workloads"]
    lost = workload["lost_counts_as"]
    for candidate in workload["candidates"]:
        name, score = candidate["name"], candidate["score"]
        lr, details = store.best(name, lost), details_of(found, name)
        assert (details["swept"], candidate["chosen"]) == ({"optimizer": name, "lr": lr}, f"{lr:g}")
        assert details["run_ids"] == [store.runs[name, lr, seed]["id"] for seed in store.seeds]
        assert candidate["chosen_by"] == pytest.approx(np.mean(store.choosing(name, lr, lost)))
        scores = store.last(name, lr, "test/accuracy")
        assert len(scores) == score["seeds"]  # what is chosen lost none
        mean = np.mean(scores)
        assert score["mean"] == pytest.approx(mean)
        if score["samples"] is None:  # Student's interval on the scale of log odds
            half = stats.t.ppf(0.975, len(scores) - 1) * stats.sem(scores) / (mean * (1 - mean))
            ends = special.expit(special.logit(mean) + np.array([-half, half]))
            assert (score["low"], score["high"]) == pytest.approx(tuple(ends))
        every = [one for key, one in store.runs.items() if key[0] == name]
        assert details["runs"] == candidate["runs"] == len(every)
        assert details["diverged"] == sum(not one["sound"] for one in every)
        assert details["failed"] == 0
        assert sorted(candidate["not_excluded"]) == sorted(able(name, store, lost))
    order = [candidate["score"]["mean"] for candidate in workload["candidates"]]
    assert order == sorted(order, reverse=True)


def able(name: str, store: Recomputed, lost: float) -> list[str]:
    """The rates that no other is better than by a one-sided paired t test, with Bonferroni."""
    scores = {
        lr: store.choosing(name, lr, lost)
        for lr in store.rates(name)
        if store.last(name, lr, "val/accuracy")
    }
    level = 0.05 / max(len(scores) - 1, 1)
    return [
        f"{lr:g}"
        for lr, own in scores.items()
        if not any(
            stats.ttest_rel(other, own, alternative="greater").pvalue < level
            for each, other in scores.items()
            if each != lr and np.ptp(np.subtract(other, own)) > 1e-12
        )
    ]


def check_comparisons(found: Content, store: Recomputed) -> None:
    (workload,) = found["workloads"]
    pairs, count = workload["comparisons"], len(workload["candidates"])
    assert len(pairs) == found["pairs"] == count * (count - 1) // 2
    for pair in pairs:
        lost = workload["lost_counts_as"]
        first, second = (
            store.last(name, store.best(name, lost), "test/accuracy")
            for name in (pair["first"], pair["second"])
        )
        test = stats.ttest_rel(first, second)
        assert pair["difference"] == pytest.approx(np.mean(first) - np.mean(second))
        assert pair["difference"] >= 0
        # On these test samples it is Student's test, whether single samples are known or not.
        here = pair["these_samples"] or pair
        interval = test.confidence_interval(pair["interval_level"])
        assert here["p"] == pytest.approx(test.pvalue)
        assert (here["low"], here["high"]) == pytest.approx((interval.low, interval.high))
        if pair["samples"] is not None:
            # Which of the two p values is smaller depends on their degrees of freedom.
            assert 0 <= pair["p"] <= 1
        assert pair["outcome"] in ("leads", "undecided")  # as nothing was confirmed
    rejected, adjusted, *_ = multipletests([pair["p"] for pair in pairs], method="holm")
    assert [pair["p_holm"] for pair in pairs] == pytest.approx(adjusted.tolist())
    assert [pair["outcome"] == "leads" for pair in pairs] == rejected.tolist()


def check_rates_and_times(found: Content, store: Recomputed) -> None:
    (workload,) = found["sweep"]["workloads"]
    for details in workload["candidates"]:
        name, sensitivity = details["name"], details["sensitivity"]
        assert [point["lr"] for point in sensitivity["points"]] == store.rates(name)
        stable = []
        for point in sensitivity["points"]:
            values = store.last(name, point["lr"], "val/accuracy")
            lost = len(store.seeds) - len(values)
            assert (point["runs"], point["diverged"]) == (len(store.seeds), lost)
            if values:
                assert point["mean"] == pytest.approx(np.mean(values))
                assert (point["low"], point["high"]) == (min(values), max(values))
            stable += [point["lr"]] * (not lost)
        assert sensitivity["largest_stable"] == max(stable)
        for time in details["times_to_target"]:
            spent, reached = [], 0
            for seed in store.seeds:
                one = store.runs[name, time["swept"]["lr"], seed]
                target = found["sweep"]["target"]
                epochs = [epoch for epoch, value in one["val/accuracy"] if value >= target]
                reached += bool(epochs)
                last = epochs[0] if epochs else max((e for e, _ in one["epoch_seconds"]), default=0)
                spent.append((last, sum(s for epoch, s in one["epoch_seconds"] if epoch <= last)))
            assert (time["reached"], time["runs"]) == (reached, len(store.seeds))
            expected = np.sum(spent, axis=0) / reached if reached else (None, None)
            assert (time["epochs"], time["seconds"]) == pytest.approx(tuple(expected))
    fastest = [
        (time["epochs"] or math.inf, time["seconds"] or math.inf)
        for name in workload["fastest"]
        for time in [details_of(found, name)["times_to_target"][0]]
    ]
    assert fastest == sorted(fastest)


def check_edges(found: Content, store: Recomputed) -> None:
    (workload,) = found["sweep"]["workloads"]
    for details in workload["candidates"]:
        rates, best = store.rates(details["name"]), details["swept"]["lr"]
        expected = set()
        if best in (rates[0], rates[-1]):
            expected = {(details["name"], best, "low" if best == rates[0] else "high")}
        edges = {(e["contender"], e["value"], e["side"]) for e in details["edges"]}
        assert edges == expected


@pytest.mark.long
@pytest.mark.parametrize(
    "sweep",
    [
        pytest.param(
            "optimizer=sgd,adam,momentum lr=1e-2,1e-1,1e30 seed=0,1,2 epochs=2 target=0.8",
            id="digits",
        ),
        pytest.param(
            "optimizer=sgd,adam lr=1e-2,1e-1 seed=0,1,2 epochs=2 target=0.8 model.hidden=[16] "
            "hydra.launcher.stack=3",
            id="stacks",
        ),
        pytest.param(
            "dataset=fashion_mnist dataset.limit=6000 optimizer=sgd,adam,rmsprop "
            "lr=1e-4,1e-3,1e-2,1e-1 seed=0,1,2 epochs=3 target=0.8",
            id="fashion_mnist",
        ),
    ],
)
def test_every_number_is_recomputed_from_the_store(
    sweep: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    project = copy_project(tmp_path / "project")
    if "fashion" in sweep:
        data_dir = request.getfixturevalue("fashion_mnist")
        (project / "data").symlink_to(data_dir, target_is_directory=True)
    done = run(project, "-m", *sweep.split(), "figures=none")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found, store = verdict_of(project), Recomputed(project)
    own = found["sweep"]
    assert (own["chosen_on"], own["judged_on"], own["key"]) == (["val"], "test", "optimizer")
    assert (own["seeds"], own["runs"]) == (store.seeds, len(store.runs))
    assert own["diverged"] == sum(not one["sound"] for one in store.runs.values())
    check_candidates(found, store)
    check_comparisons(found, store)
    check_rates_and_times(found, store)
    check_edges(found, store)
    check_what_mlflow_shows(project, found)
    said = found["workloads"][0]["sentences"]
    assert done.stdout.index(said[0]) < done.stdout.index(said[1]) < done.stdout.index(said[2])
    assert said[-1] in done.stdout

    again = run(project, "sweep=latest", script="experiments/report.py")
    assert again.returncode == 0, again.stderr
    assert verdict_of(project, "outputs/reports/*") == found
    assert said[0] in again.stdout


def check_what_mlflow_shows(project: Path, found: Content) -> None:
    (parent,) = runs(project, "sweep")
    metrics, tags = parent.data.metrics, parent.data.tags
    (workload,) = found["workloads"]
    leader = next(e for e in workload["candidates"] if e["name"] == workload["best"][0])
    second = next(e for e in workload["candidates"] if e is not leader)
    two = {leader["name"], second["name"]}
    pair = next(e for e in workload["comparisons"] if {e["first"], e["second"]} == two)
    assert metrics["verdict/accuracy"] == leader["score"]["mean"]
    assert metrics["verdict/accuracy_low"] == leader["score"]["low"]
    assert metrics["verdict/seeds"] == leader["score"]["seeds"]
    assert metrics["verdict/p"] == pair["p_holm"]
    ahead = pair["first"] == leader["name"]
    assert metrics["verdict/lead"] == (pair["difference"] if ahead else -pair["difference"])
    assert metrics["verdict/lead_low"] == (pair["low"] if ahead else -pair["high"])
    assert metrics["verdict/diverged"] == found["sweep"]["diverged"]
    assert tags["optsweep.verdict"] == workload["sentences"][0]
    assert tags["optsweep.verdict.best"].startswith(leader["name"])
    assert "verdict.json" in artifacts(project, parent.info.run_id)
    ordered = client(project).search_runs(
        [parent.info.experiment_id], order_by=["metrics.`verdict/accuracy` DESC"]
    )
    assert ordered[0].info.run_id == parent.info.run_id


@pytest.mark.long
def test_a_best_value_on_the_edge_is_flagged_and_the_sweep_extends_itself(project: Path) -> None:
    grid = ("-m", "optimizer=sgd", "lr=1e-3,1e-2", "epochs=10", "figures=none")
    done = run(project, *grid)
    assert "On the edge of the grid: lr=0.01 (highest tried)" in done.stdout
    assert "Type lr=0.001,0.01,0.1, or extend=3." in done.stdout
    (parent,) = runs(project, "sweep")
    assert parent.data.tags["optsweep.verdict.edges"] == "sgd lr high"

    done = run(project, *grid, "extend=1", "resume=true")
    assert "lr=0.1 (highest tried)" in done.stdout and "or raise extend." in done.stdout
    # As a kill leaves it: what an extension left unfinished continues where it was.
    killed = by_name(project)["sgd lr=0.1 seed=0"].info.run_id
    client(project).set_terminated(killed, "KILLED")

    done = run(project, *grid, "extend=3", "resume=true")
    assert done.returncode == 0, done.stderr
    assert by_name(project)["sgd lr=0.1 seed=0"].info.run_id == killed
    found = verdict_of(project)
    details = details_of(found, "sgd")
    assert details["edges"] == [] and found["sweep"]["extended"] == ["lr=0.1", "lr=1"]
    assert details["swept"] == {"lr": 0.1}
    assert "On the edge" not in done.stdout
    names = [f"sgd lr={lr} seed=0" for lr in ("0.001", "0.01", "0.1", "1")]
    assert sorted(by_name(project)) == names  # in the sweep that was extended, each once
    (parent,) = runs(project, "sweep")
    assert parent.info.status == "FINISHED"
    folders = {one.data.tags["optsweep.folder"].rpartition("/")[2] for one in runs(project)}
    assert folders == {"0", "1", "2", "3"}

    again = run(project, "sweep=latest", script="experiments/report.py")
    assert again.returncode == 0, again.stderr
    assert verdict_of(project, "outputs/reports/*") == found


@pytest.mark.long
def test_what_is_asked_of_a_sweep_has_one_value(project: Path) -> None:
    done = run(project, "-m", "lr=1e-2,1e-1", "extend=0,1")
    assert done.returncode == 2
    assert done.stderr == "error: extend=0,1: a sweep has one extend; type extend=0\n"
