"""Real sweeps end in a verdict, every number of which the store gives again."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

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

    def best(self, optimizer: str) -> float:
        def key(lr: float) -> tuple[float, float]:
            accuracies = self.last(optimizer, lr, "val/accuracy")
            losses = self.last(optimizer, lr, "val/loss") or [math.inf]
            return sum(accuracies) / len(self.seeds), -float(np.mean(losses))

        return max(self.rates(optimizer), key=key)


def check_standings(found: Content, store: Recomputed) -> None:
    for standing in found["standings"]:
        name = standing["name"]
        lr = store.best(name)
        assert standing["swept"] == {"optimizer": name, "lr": lr}
        assert standing["run_ids"] == [store.runs[name, lr, seed]["id"] for seed in store.seeds]
        assert standing["chosen_by"] == pytest.approx(np.mean(store.last(name, lr, "val/accuracy")))
        scores, score = store.last(name, lr, "test/accuracy"), standing["score"]
        assert score["mean"] == pytest.approx(np.mean(scores))
        assert score["deviation"] == pytest.approx(np.std(scores, ddof=1))
        half = stats.t.ppf(0.975, len(scores) - 1) * stats.sem(scores)
        assert score["low"] == pytest.approx(np.mean(scores) - half)
        assert score["high"] == pytest.approx(np.mean(scores) + half)
        every = [one for key, one in store.runs.items() if key[0] == name]
        assert standing["all_runs"] == len(every)
        assert standing["all_diverged"] == sum(not one["sound"] for one in every)
        assert (standing["runs"], standing["all_failed"]) == (len(store.seeds), 0)
    order = [standing["chosen_by"] for standing in found["standings"]]
    assert order == sorted(order, reverse=True)


def check_comparisons(found: Content, store: Recomputed) -> None:
    pairs = found["comparisons"]
    count = len(found["standings"])
    assert len(pairs) == count * (count - 1) // 2
    raw = []
    for pair in pairs:
        first, second = (
            store.last(name, store.best(name), "test/accuracy")
            for name in (pair["first"], pair["second"])
        )
        test = stats.ttest_rel(first, second)
        interval = test.confidence_interval(0.95)
        assert pair["difference"] == pytest.approx(np.mean(first) - np.mean(second)) and (
            pair["difference"] >= 0
        )
        assert pair["deviation"] == pytest.approx(np.std(np.subtract(first, second), ddof=1))
        assert (pair["low"], pair["high"]) == pytest.approx((interval.low, interval.high))
        assert pair["p"] == pytest.approx(test.pvalue)
        raw.append(pair["p"])
    # Holm: the smallest times their number, the next times one less, never falling.
    least = 0.0
    for rank, place in enumerate(np.argsort(raw)):
        least = max(least, min(1.0, raw[place] * (len(raw) - rank)))
        assert pairs[place]["p_holm"] == pytest.approx(least)
        assert (pairs[place]["outcome"] == "beats") == (least < 0.05)
    for pair in pairs:
        if (needed := pair["seeds_to_decide"]) is not None:
            size, level = pair["difference"] / pair["deviation"], 0.05 / len(pairs) / 2

            def power(n: int, size: float = size, level: float = level) -> float:
                critical = stats.t.isf(level, n - 1)
                return float(stats.nct.sf(critical, n - 1, size * math.sqrt(n)))

            assert power(needed) >= 0.8 - 1e-3
            assert needed == pair["seeds"] + 1 or power(needed - 1) < 0.8


def check_rates_and_times(found: Content, store: Recomputed) -> None:
    for standing in found["standings"]:
        name, sensitivity = standing["name"], standing["sensitivity"]
        assert [point["lr"] for point in sensitivity["points"]] == store.rates(name)
        stable, near = [], []
        means = {
            lr: float(np.mean(values)) if (values := store.last(name, lr, "val/accuracy")) else 0.0
            for lr in store.rates(name)
        }
        for point in sensitivity["points"]:
            values = store.last(name, point["lr"], "val/accuracy")
            lost = len(store.seeds) - len(values)
            assert (point["runs"], point["diverged"]) == (len(store.seeds), lost)
            if values:
                assert point["mean"] == pytest.approx(means[point["lr"]])
                assert (point["low"], point["high"]) == (min(values), max(values))
            stable += [point["lr"]] * (not lost)
            near += [point["lr"]] * (not lost and means[point["lr"]] >= max(means.values()) - 0.01)
        assert sensitivity["largest_stable"] == max(stable)
        assert {*sensitivity["range"]} <= {*near}
        for time in standing["times_to_target"]:
            reached = []
            for seed in store.seeds:
                one = store.runs[name, time["swept"]["lr"], seed]
                epochs = [epoch for epoch, value in one["val/accuracy"] if value >= found["target"]]
                if epochs:
                    taken = [s for epoch, s in one["epoch_seconds"] if epoch <= epochs[0]]
                    reached.append((epochs[0], sum(taken)))
            assert (time["reached"], time["runs"]) == (len(reached), len(store.seeds))
            expected = np.mean(reached, axis=0) if reached else (None, None)
            assert (time["epochs"], time["seconds"]) == pytest.approx(tuple(expected))
    fastest = [
        (-time["reached"], time["epochs"] or math.inf, time["seconds"] or math.inf)
        for name in found["fastest"]
        for time in [next(s for s in found["standings"] if s["name"] == name)["times_to_target"][0]]
    ]
    assert fastest == sorted(fastest)


def check_edges(found: Content, store: Recomputed) -> None:
    expected = set()
    for standing in found["standings"]:
        rates, best = store.rates(standing["name"]), standing["swept"]["lr"]
        if best in (rates[0], rates[-1]):
            expected.add((standing["name"], best, "low" if best == rates[0] else "high"))
    assert {(e["contender"], e["value"], e["side"]) for e in found["edges"]} == expected


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
            "dataset=fashion_mnist optimizer=sgd,adam,rmsprop lr=1e-4,1e-3,1e-2,1e-1 seed=0,1,2 "
            "epochs=3 target=0.85",
            id="fashion_mnist",
            marks=pytest.mark.timeout(2000),
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
    done = run(project, "-m", *sweep.split(), "figures=none", timeout=1500)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found, store = verdict_of(project), Recomputed(project)
    assert (found["chosen_on"], found["judged_on"], found["key"]) == (["val"], "test", "optimizer")
    assert (found["seeds"], found["runs"]) == (store.seeds, len(store.runs))
    assert found["diverged"] == sum(not one["sound"] for one in store.runs.values())
    check_standings(found, store)
    check_comparisons(found, store)
    check_rates_and_times(found, store)
    check_edges(found, store)
    check_what_mlflow_shows(project, found)
    assert found["sentences"][0] in done.stdout
    assert found["sentences"][-1] in done.stdout

    again = run(project, "sweep=latest", script="experiments/report.py")
    assert again.returncode == 0, again.stderr
    assert verdict_of(project, "outputs/reports/*") == found
    assert found["sentences"][0] in again.stdout


def check_what_mlflow_shows(project: Path, found: Content) -> None:
    (parent,) = runs(project, "sweep")
    metrics, tags = parent.data.metrics, parent.data.tags
    leader, pair = found["standings"][0], found["comparisons"][0]
    assert metrics["verdict/accuracy"] == leader["score"]["mean"]
    assert metrics["verdict/accuracy_low"] == leader["score"]["low"]
    assert metrics["verdict/seeds"] == leader["score"]["seeds"]
    assert metrics["verdict/p"] == pair["p_holm"]
    ahead = pair["first"] == leader["name"]
    assert metrics["verdict/lead"] == (pair["difference"] if ahead else -pair["difference"])
    assert metrics["verdict/lead_low"] == (pair["low"] if ahead else -pair["high"])
    assert metrics["verdict/diverged"] == found["diverged"]
    assert tags["optsweep.verdict"] == found["sentences"][0]
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
    assert found["edges"] == [] and found["extended"] == ["lr=0.1", "lr=1"]
    assert found["standings"][0]["swept"] == {"lr": 0.1}
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
