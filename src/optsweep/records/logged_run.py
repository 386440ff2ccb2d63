"""A run that another program logged to MLflow, in plain values."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LoggedRun:
    """What a store holds of a run: texts by name, and one value of each metric.

    `status` is MLflow's: FINISHED, FAILED, KILLED, RUNNING or SCHEDULED. `parent` is the id of the
    run that it is nested under, empty where there is none. A metric's value is its last one, or
    the highest or lowest of all its steps.
    """

    run_id: str
    name: str
    status: str
    parent: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name} ({self.run_id})" if self.name else self.run_id
