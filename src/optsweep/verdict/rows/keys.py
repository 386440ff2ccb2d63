"""Where the values stand that a verdict needs of a run: `params.lr`, `metrics.test_acc`.

`Keys.of` reads them as they are typed. A `Source` gives the value that a run has there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from optsweep.errors import SettingsError, nearest
from optsweep.records.logged_run import LoggedRun
from optsweep.records.param_values import value_of
from optsweep.records.values import is_number, label

At = Literal["last", "min", "max"]
AT: tuple[At, ...] = ("last", "min", "max")
KINDS = ("params", "metrics", "tags", "attributes")
_ATTRIBUTES = {"run_name": "name", "run_id": "run_id"}
_DIGITS = 15  # as many as any number has that was typed in decimals


@dataclass(frozen=True)
class Source:
    """One place of a run: a parameter, a metric, a tag, or an attribute such as its name."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}.{self.name}"

    def text(self, run: LoggedRun) -> str | None:
        """The run's value, the same for `1e-3` and `0.001`; None where it has none."""
        if self.kind == "attributes":
            return str(getattr(run, _ATTRIBUTES[self.name])) or None
        given = self._of(run).get(self.name)
        if isinstance(given, float):
            return label(given, _DIGITS)
        value = value_of(given.strip()) if given and given.strip() else None
        return label(value, _DIGITS) if is_number(value) else given or None

    def number(self, run: LoggedRun) -> float | None:
        """The run's value as a number, which may be NaN; None where it has none.

        Raises:
            ValueError: it is no number.
        """
        text = self.text(run)
        return None if text is None else float(self._of(run).get(self.name, text))

    def _of(self, run: LoggedRun) -> Mapping[str, str | float]:
        found: Mapping[str, Mapping[str, str | float]] = {
            "params": run.params,
            "metrics": run.metrics,
            "tags": run.tags,
            "attributes": {},
        }
        return found[self.kind]


@dataclass(frozen=True)
class Keys:
    """Where each run has what a row of a table has in its columns.

    A candidate, a configuration and a workload may be of several values. `at` says which value of
    a metric counts: the last one, or the lowest or highest of all its steps.
    """

    candidate: Sequence[Source]
    seed: Source
    score: Source
    configuration: Sequence[Source] = ()
    workload: Sequence[Source] = ()
    chosen_by: Source | None = None
    phase: Source | None = None
    at: At = "last"

    NEEDED: ClassVar = ("candidate", "seed", "score")
    LISTS: ClassVar = ("candidate", "configuration", "workload")
    NAMES: ClassVar = (
        "candidate",
        "configuration",
        "seed",
        "score",
        "chosen_by",
        "workload",
        "phase",
    )

    @classmethod
    def of(cls, typed: Mapping[str, str]) -> "Keys":
        """The keys as typed, by their names, with all that are needed.

        Raises:
            SettingsError: one names no place of a run, or two name the same.
        """
        found = sources_of(typed)
        at = next((each for each in AT if each == typed.get("at", "last")), None)
        if at is None:
            raise SettingsError(f"at={typed['at']}: type at=last, at=min or at=max")
        keys = cls(
            candidate=found["candidate"],
            seed=found["seed"][0],
            score=found["score"][0],
            configuration=found.get("configuration", ()),
            workload=found.get("workload", ()),
            chosen_by=found["chosen_by"][0] if "chosen_by" in found else None,
            phase=found["phase"][0] if "phase" in found else None,
            at=at,
        )
        keys._check_places()
        return keys

    def _check_places(self) -> None:
        places: dict[Source, str] = {}
        for name, source in self:
            other = places.setdefault(source, name)
            if other != name and name != "chosen_by":
                raise SettingsError(f"{source} stands in {other}= and in {name}=; type it in one")

    def __iter__(self) -> Iterator[tuple[str, Source]]:
        """Each source with the name of its key."""
        for name in self.NAMES:
            given = getattr(self, name)
            for source in given if name in self.LISTS else [given]:
                if source is not None:
                    yield name, source

    @property
    def metrics(self) -> list[str]:
        """The metrics that score and choose."""
        both = [self.score, self.chosen_by]
        return sorted({each.name for each in both if each and each.kind == "metrics"})


def sources_of(typed: Mapping[str, str]) -> dict[str, list[Source]]:
    """The sources that were typed, by their keys.

    Raises:
        SettingsError: one names no place of a run, or there are several where one is allowed.
    """
    found = {}
    for name in [each for each in Keys.NAMES if each in typed]:
        parts = [part for part in typed[name].split(",") if part.strip()]
        if len(parts) != 1 and not (parts and name in Keys.LISTS):
            raise SettingsError(f"{name}={typed[name]}: type one, as {name}={_usual(name)}.NAME")
        found[name] = [_source(name, part) for part in parts]
    return found


def _usual(name: str) -> str:
    """The kind of source that a key most often has."""
    return "metrics" if name in ("score", "chosen_by") else "params"


def _source(name: str, text: str) -> Source:
    kind, _, place = text.strip().partition(".")
    if kind == "attributes" and place and place not in _ATTRIBUTES:
        there = " and ".join(f"attributes.{each}" for each in _ATTRIBUTES)
        raise SettingsError(f"{name}={text}: there are {there}")
    if kind in KINDS and place:
        return Source(kind, place)
    best = (place and nearest(kind, KINDS)) or _usual(name)
    raise SettingsError(
        f"{name}={text}: say where runs have it, as params.NAME, metrics.NAME, tags.NAME or "
        f"attributes.run_name; type for example {name}={best}.{place or text.strip()}"
    )
