"""What an executor runs: one job, or the jobs of one stack."""

from collections.abc import Sequence
from dataclasses import dataclass

from optsweep.runs.job import Job


@dataclass(frozen=True)
class Task:
    """Jobs that are carried out together, and where they are filed."""

    jobs: Sequence[Job]
    uri: str
    experiment_id: str
    parent: str | None
    owner: str
    figures: bool
