"""A task: what an executor runs, one job or the jobs of one stack.

It is pickled to reach a worker, and names the store instead of holding it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from optsweep.runs.job import Job


@dataclass(frozen=True)
class Task:
    """Jobs that run together, and where they are logged."""

    jobs: Sequence[Job]
    uri: str
    experiment_id: str
    parent: str | None
    owner: str
    figures: bool
    verbose: Sequence[str] = ()  # the loggers that log what is for debugging
