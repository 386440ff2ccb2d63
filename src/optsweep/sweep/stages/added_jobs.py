"""Jobs that a stage adds to a running sweep."""

from collections.abc import Callable, Sequence

from optsweep.errors import OptsweepError
from optsweep.runs.job import Job
from optsweep.system.redaction import redact


class AddedJobs:
    """Makes a stage's jobs, and says what is tried and what cannot be.

    `overrides` are those of the jobs so far, to which the new ones' are added; `compose` turns
    overrides into checked jobs.
    """

    def __init__(
        self,
        overrides: list[list[str]],
        compose: Callable[[Sequence[Sequence[str]]], list[Job]],
        say: Callable[[str], None],
    ) -> None:
        self.overrides = overrides
        self._compose = compose
        self._say = say

    def make(self, wanted: list[list[str]], tried: str, refused: str) -> list[Job]:
        """The jobs of these overrides; none where one of them cannot run, with the reason said."""
        try:
            jobs = self._compose(wanted)
        except OptsweepError as error:
            self._say(f"{refused}: {redact(' '.join(str(error).split()))}")
            return []
        self.overrides += wanted
        self._say(tried)
        return jobs
