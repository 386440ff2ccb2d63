"""What differs between logged runs: the values of each parameter or tag, and of which kind."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from optsweep.records.logged_run import LoggedRun
from optsweep.records.param_values import value_of
from optsweep.records.values import is_number
from optsweep.verdict.rows.keys import Source
from optsweep.verdict.rows.metric_names import words

_LONGEST = 60  # characters of a word; longer texts are descriptions, whole configurations
_ADDRESS = re.compile(r" at 0x|://|^[~.]{0,2}/|^[A-Za-z]:\\")


@dataclass(frozen=True)
class Varying:
    """A source whose value differs between runs: each run's text, None where it has none."""

    source: Source
    texts: Sequence[str | None]

    @cached_property
    def values(self) -> list[str]:
        """The different values."""
        return list(dict.fromkeys(text for text in self.texts if text is not None))

    @property
    def has_words(self) -> bool:
        """Whether all values are words: names of something, not numbers or settings."""
        found = [value_of(text) for text in self.values]
        return all(isinstance(value, str) and value not in ("true", "false") for value in found)

    @property
    def has_integers(self) -> bool:
        """Whether every value is an integer."""
        found = [value_of(text) for text in self.values]
        return all(isinstance(each, int) and not isinstance(each, bool) for each in found)

    @property
    def is_other_in_each(self) -> bool:
        """Whether no two runs share a value, as with paths, times and ids."""
        return len(self.texts) > 3 and len(self.values) == len(self.texts)

    @property
    def is_address(self) -> bool:
        """Whether a value is a path, an object in memory, or longer than a word."""
        return any(len(text) > _LONGEST or _ADDRESS.search(text) for text in self.values)

    def rank(self, names: Sequence[str]) -> int:
        """How well the name says what it is: the place of its word among `names`."""
        own = words(self.source.name)
        return min((names.index(word) for word in own if word in names), default=len(names))


def varying_in(runs: Sequence[LoggedRun], kind: str) -> list[Varying]:
    """What differs between the runs; MLflow's own tags are no settings."""
    names = sorted({name for run in runs for name in getattr(run, kind)})
    sources = [Source(kind, name) for name in names if not name.startswith("mlflow.")]
    every = [Varying(source, [source.text(run) for run in runs]) for source in sources]
    return [each for each in every if len(each.values) > 1]


def follows(each: Varying, others: Sequence[Varying]) -> bool:
    """Whether runs that are alike in the others are alike in this one."""
    found: dict[tuple[str | None, ...], str | None] = {}
    for place, text in enumerate(each.texts):
        key = tuple(other.texts[place] for other in others)
        if found.setdefault(key, text) != text:
            return False
    return True


def described(each: Varying) -> str:
    """A source with its values: words in a row, numbers by their range."""
    values = each.values
    numbers = [float(value_of(text)) for text in values if is_number(value_of(text))]
    if len(numbers) == len(values) > 3:
        shown = f"{len(values)} numbers, {_text(min(numbers), each)} to {_text(max(numbers), each)}"
    elif len(values) > 6 or each.is_address:
        shown = f"{len(values)} values"
    else:
        shown = ", ".join(values)
    return f"{each.source} ({shown})"


def _text(number: float, each: Varying) -> str:
    return next(text for text in each.values if float(text) == number)
