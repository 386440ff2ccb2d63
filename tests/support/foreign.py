"""Experiments as other programs write them: by plain calls of MLflow, in a store of their own."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from support.store import copy_empty_store


class Foreign:
    """An experiment in an sqlite store in `folder`, which other experiments may share."""

    def __init__(self, folder: Path, name: str = "mine") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        copy_empty_store(folder / "mlflow.db")
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.name = name
        self.client = MlflowClient(self.uri)
        self.id = self.client.create_experiment(name, artifact_location=str(folder / "artifacts"))
        self._started = 0

    def log(
        self,
        params: Mapping[str, object],
        metrics: Mapping[str, float | Sequence[float]],
        *,
        name: str = "",
        tags: Mapping[str, str] | None = None,
        status: str | None = "FINISHED",
    ) -> str:
        """Logs a run, a metric's values step by step; returns its id. None leaves it running."""
        self._started += 1
        run = self.client.create_run(
            self.id, start_time=self._started, tags=dict(tags or {}), run_name=name or None
        )
        points = [
            Metric(key, value, step, step)
            for key, values in metrics.items()
            for step, value in enumerate([values] if isinstance(values, float | int) else values)
        ]
        texts = [Param(key, str(value)) for key, value in params.items()]
        run_id = str(run.info.run_id)
        self.client.log_batch(run_id, metrics=points, params=texts)
        if status:
            self.client.set_terminated(run_id, status, end_time=self._started)
        return run_id


def lightning(folder: Path) -> Foreign:
    """What PyTorch Lightning's MLFlowLogger leaves, by its documentation.

    Hyperparameters are flattened with `/` and cut to 250 characters; metrics come at global steps,
    each time with the epoch; a test's at the end. Runs have a generated name and tags of their user
    and source. Two data sets, two optimizers at two rates, five seeds.
    """
    made = Foreign(folder, "lightning_logs")
    drawn = random.Random(1)
    better = {("digits", "adam"): 0.95, ("digits", "sgd"): 0.90, ("wine", "adam"): 0.80}
    for data in ("digits", "wine"):
        for optimizer in ("adam", "sgd"):
            for rate in (0.001, 0.1):
                for seed in range(5):
                    best = better.get((data, optimizer), 0.85) - (0.1 if rate == 0.1 else 0.0)
                    score = best + drawn.gauss(0, 0.002)
                    made.log(
                        {
                            "optimizer/name": optimizer,
                            "optimizer/lr": rate,
                            "optimizer/weight_decay": 0.0,
                            "data/name": data,
                            "data/batch_size": 32,
                            "data/num_workers": 2,
                            "seed_everything": seed,
                            "callbacks": f"[<ModelCheckpoint object at 0x{seed:x}{data}{rate}>]",
                        },
                        {
                            "epoch": [0, 0, 1, 1],
                            "train_loss_step": [2.0, 1.0, 0.7, 0.5],
                            "train_loss_epoch": [1.5, 0.6],
                            "val_loss": [1.0, 0.4],
                            "val_acc": [score - 0.1, score + drawn.gauss(0, 0.001)],
                            "test_loss": 0.4,
                            "test_acc": score,
                        },
                        tags={"mlflow.source.name": "fit.py", "mlflow.user": "someone"},
                    )
    return made


def bare(folder: Path) -> Foreign:
    """What a script leaves that calls MLflow itself, after a week of work.

    adam and sgd at two rates and three seeds to tune, the best of each at five more to confirm. A
    run that failed was repeated; others still run, were killed, were deleted, or are parents.
    """
    made = Foreign(folder, "week 47")
    drawn = random.Random(2)
    parent = made.log({"note": "a sweep"}, {"best": 0.95}, name="sweep")
    nested = {"mlflow.parentRunId": parent}

    def log(optimizer: str, rate: str, seed: int, phase: str, status: str | None) -> str:
        score = (0.95 if optimizer == "adam" else 0.90) - (0.05 if rate == "0.1" else 0)
        score += drawn.gauss(0, 0.002)
        params = {"optimizer": optimizer, "lr": rate, "seed": seed, "dataset": "digits"}
        found = {} if status in ("FAILED", None) else {"acc": score, "val": score}
        return made.log(
            params,
            found,
            tags={**nested, "phase": phase},
            status=status,
            name=f"{optimizer}-{seed}",
        )

    log("adam", "1e-3", 0, "tune", "FAILED")
    for optimizer in ("adam", "sgd"):
        for rate in ("0.001", "0.1"):
            for seed in range(3):
                log(optimizer, rate, seed, "tune", "FINISHED")
        for seed in range(10, 15):
            log(optimizer, "0.001", seed, "confirm", "FINISHED")
    log("sgd", "0.001", 15, "confirm", None)
    log("sgd", "0.001", 16, "confirm", "KILLED")
    made.client.delete_run(log("sgd", "0.001", 0, "tune", "FINISHED"))
    made.log({"pictures": "yes"}, {"seconds": 3.0}, tags=nested, name="figures")
    return made


def documented(folder: Path) -> Foreign:
    """The experiment that docs/verdict.md speaks of."""
    made = Foreign(folder, "mine")
    drawn = random.Random(3)
    for data in ("digits", "wine"):
        for optimizer, best in (("adam", 0.95), ("sgd", 0.9)):
            for rate in (0.001, 0.1):
                for seed in range(5):
                    score = best - 0.3 * rate + drawn.gauss(0, 0.002)
                    params = {"optimizer": optimizer, "lr": rate, "weight_decay": 0, "seed": seed}
                    made.log({**params, "dataset": data}, {"test_acc": score, "val_acc": score})
    return made
