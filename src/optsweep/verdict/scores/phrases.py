"""How numbers are said in sentences about scores."""

from collections.abc import Sequence

from optsweep.records.values import label, points, printable
from optsweep.verdict.scores.answer import Answer, Workload
from optsweep.verdict.scores.intervals import LEVEL

SURE = f"{100 * LEVEL:.0f} %"


class Amounts:
    """Differences between scores of one workload: points of accuracy, or the scores' own unit.

    `tuning` is what a configuration is called, `judged_on` what the samples are called that judge.
    """

    def __init__(
        self,
        answer: Answer,
        workload: Workload,
        tuning: str = "configuration",
        judged_on: str = "test",
    ) -> None:
        self.answer = answer
        self.workload = workload
        self.tuning = tuning
        self.judged_on = judged_on
        self.scored = [each for each in workload.candidates if each.score]

    def difference(self, value: float) -> str:
        """A difference without its unit."""
        return points(value) if self.workload.is_share else label(value, 3)

    def amount(self, value: float) -> str:
        """A difference with its unit."""
        return f"{self.difference(value)} points" if self.workload.is_share else label(value, 3)

    @property
    def margin(self) -> str:
        """The difference that matters in practice."""
        if not self.workload.is_share:
            return label(self.answer.margin)
        value = label(100 * self.answer.margin)
        return f"{value} point{'' if value == '1' else 's'}"


def seed_count(count: int) -> str:
    """A number of seeds."""
    return "one seed" if count == 1 else f"{count:,} seeds"


def counted(number: int, what: str) -> str:
    """So many of something."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], word: str = "and") -> str:
    """Names in a row, with a word before the last."""
    return f" {word} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def be_excluded(names: Sequence[str]) -> str:
    """What is excluded, to be added to a sentence; nothing where there is nothing."""
    return f"; {listed(names)} {'is' if len(names) == 1 else 'are'} excluded" if names else ""


def p_value(p: float) -> str:
    """A p value."""
    return f"p = {label(p, 2)}"


def plain(lines: Sequence[str]) -> list[str]:
    """The lines that say something, each on one line and safe for a terminal."""
    return [printable(" ".join(line.split())) for line in lines if line]
