"""From a composed config to a checked job.

`JobMaker` makes the jobs of a sweep, `new_job` any job: `preflight` tries the settings, and the
fingerprint is computed. Code behind this module does not know Hydra's config or errors.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from optsweep.cli.compat.omegaconf import to_yaml
from optsweep.cli.composing import Composed
from optsweep.cli.options import values_in
from optsweep.config.idle_values import Typed, idle_values
from optsweep.config.overrides import swept_key
from optsweep.config.settings import Option, Settings
from optsweep.errors import SettingsError, UnknownArgument
from optsweep.records.values import identity
from optsweep.system.cores import cores, few_threads
from optsweep.system.redaction import redacted

if TYPE_CHECKING:
    from optsweep.runs.job import Job

# What is asked of a sweep as a whole.
_OF_A_SWEEP = (
    "target",
    "extend",
    "confirm",
    "max_seeds",
    "margin",
    "compare",
    "plan",
    "check",
    "open",
    "rates",
    "log_model",
)
# Around what is made of one job, given its overrides: says where it was typed if it is refused.
Naming = Callable[[Sequence[str]], AbstractContextManager[None]]
_MISSING = object()


def unnamed(overrides: Sequence[str]) -> AbstractContextManager[None]:
    """Nothing is to be said of where a job was typed."""
    return nullcontext()


@dataclass(frozen=True)
class JobMaker:
    """Makes the jobs of a sweep, checked: those that it begins with, and those that are added.

    `compose` is given overrides and the first job's number. `swept` are the keys whose values
    differ. `device` says where a job computes that runs on another machine; None: here.
    """

    compose: Callable[[Sequence[Sequence[str]], int], list[Composed]]
    swept: Sequence[str]
    device: Callable[[Settings], str | None]
    folder: Path
    first: int
    naming: Naming = unnamed
    composed: list[Composed] = field(default_factory=list)  # of all jobs, in their order

    def __call__(self, overrides: Sequence[Sequence[str]]) -> "list[Job]":
        """Further jobs.

        Raises:
            OptsweepError: one of them cannot run, or its overrides name nothing that exists.
        """
        try:
            composed = self.compose(overrides, self.first + len(self.composed))
        except (HydraException, OmegaConfBaseException) as error:
            raise SettingsError(str(error)) from error
        return self.checked(
            composed, [Settings.from_config(one.values, one.choices) for one in composed]
        )

    def checked(self, composed: Sequence[Composed], settings: Sequence[Settings]) -> "list[Job]":
        """Jobs of their configs and settings.

        Raises:
            OptsweepError: one of them cannot run.
        """
        from optsweep.runs.preflight import bytes_needed_by
        from optsweep.system.disk import refuse_full

        composed = self._apart(composed)
        # Another process imports meanwhile: threads that wait for its core make this slower.
        with few_threads(max(1, cores() - 1)):
            jobs = [self._job(one, given) for one, given in zip(composed, settings, strict=True)]
            needed = len(jobs) * bytes_needed_by(jobs[0].settings)
        if self.folder.exists():  # else the sweep has moved to that of the one that it resumes
            refuse_full(self.folder, needed, "hydra.sweep.dir")
        # Of their values the jobs hold what is needed.
        self.composed.extend(replace(one, values={}) for one in composed)
        return jobs

    def _apart(self, composed: Sequence[Composed]) -> list[Composed]:
        """The same, each with a folder of its own: to one that is named again a number is added."""
        taken = {one.folder for one in self.composed}
        apart = []
        for one in composed:
            folder = one.folder
            while folder in taken:
                folder = folder.with_name(f"{folder.name}-{one.number}")
            taken.add(folder)
            apart.append(replace(one, folder=folder))
        return apart

    def _job(self, one: Composed, given: Settings) -> "Job":
        with self.naming(one.overrides):
            return new_job(
                given,
                one.values,
                one.folder,
                one.overrides,
                redacted(swept_values(self.swept, one)),
                self.device(given),
            )


def new_job(
    settings: Settings,
    values: dict[str, Any],
    folder: Path,
    overrides: list[str],
    swept: dict[str, Any],
    device: str | None = None,
) -> "Job":
    """A checked job of `settings`, which `values`, the resolved config, gave.

    A `device` of another machine cannot be tried here; all else is, on this one's CPU.

    Raises:
        OptsweepError: the job cannot run.
    """
    from optsweep.data.dataset import description, load_dataset
    from optsweep.runs.job import Job
    from optsweep.runs.preflight import checked
    from optsweep.training.device import check_precision

    with _blaming_preset(settings, overrides):
        if device is None:
            settings = checked(settings)
        else:
            settings = replace(settings, device=device)
            check_precision(settings)
            checked(replace(settings, device="cpu", precision="fp32"))
    data = load_dataset(settings)
    fingerprint = settings.fingerprint(data.digest)
    config = to_yaml(values)
    return Job(settings, folder, fingerprint, overrides, swept, config, redacted(description(data)))


@contextmanager
def _blaming_preset(settings: Settings, overrides: Sequence[str]) -> Iterator[None]:
    """Names the preset whose values an option that was typed beside it does not know."""
    try:
        yield
    except UnknownArgument as error:
        group, typed = error.group, {swept_key(override) for override in overrides}
        option: Option = getattr(settings, group)
        preset = values_in("preset", settings.preset or "none", group)
        foreign = preset & option.arguments.keys() - values_in(group, option.name)
        if not (keys := sorted({f"{group}.{key}" for key in foreign} - typed)):
            raise
        raise SettingsError(
            f"preset={settings.preset} sets {' and '.join(keys)}, which {group}={option.name} "
            f"does not have; type ~{' ~'.join(keys)}"
        ) from None


def swept_values(keys: Iterable[str], one: Composed) -> dict[str, Any]:
    """The values of those of the keys that the config has."""
    values = {key: _value_of(key, one.values, one.choices) for key in keys}
    return {key: value for key, value in values.items() if value is not _MISSING}


def _value_of(key: str, config: Mapping[str, Any], choices: Mapping[str, Any]) -> Any:
    """The value of a swept key: a group's option, or what lies at a dotted path, if anything."""
    if key in choices:
        return choices[key]
    node: Any = config
    for part in key.split("."):
        node = node.get(part, _MISSING) if isinstance(node, Mapping) else _MISSING
    return node


def refuse_as_a_whole(
    keys: Sequence[str], composed: Sequence[Composed], settings: Sequence[Settings]
) -> list[str]:
    """Looks at all runs of a sweep together; returns what the user is warned of.

    Raises:
        SettingsError: what is asked of the sweep, or what is swept, makes no sense.
    """
    refuse_swept(keys, settings)
    refuse_compared(settings[0].compare, keys)
    return idle_values(
        keys,
        [
            Typed(one.overrides, given, swept_values(keys, one))
            for one, given in zip(composed, settings, strict=True)
        ],
    )


def refuse_swept(keys: Iterable[str], settings: Sequence[Settings]) -> None:
    """Makes sure that what is asked of a sweep as a whole has one value.

    Raises:
        SettingsError: it was given several.
    """
    for key in keys:
        if key in _OF_A_SWEEP:
            values = list(dict.fromkeys(str(getattr(given, key)) for given in settings))
            raise SettingsError(
                f"{key}={','.join(values)}: a sweep has one {key}; type {key}={values[0]}"
            )


def refuse_compared(compare: str | None, keys: Sequence[str]) -> None:
    """Makes sure that what is to be compared is swept, and can be.

    Raises:
        SettingsError: it is not, or its values are no candidates for one task.
    """
    others = [key for key in keys if key != "seed" and not key.startswith("dataset")]
    if compare is not None and compare not in others:
        why = "it is not swept"
        if compare == "seed":
            why = "seeds repeat a run, and are no candidates"
        elif compare.startswith("dataset"):
            why = "accuracies on different data are not compared"
        instead = f"compare={others[0]}" if others else "-m optimizer=sgd,adam"
        raise SettingsError(f"compare={compare}: {why}; type {instead}")


def swept_keys(composed: Sequence[Composed]) -> list[str]:
    """The keys whose values differ between jobs, in the order in which they were typed.

    Of a key that only some of the jobs were typed with, what the others have without it counts.
    """
    typed = [
        {swept_key(override): override.partition("=")[2] for override in one.overrides}
        for one in composed
    ]
    keys = dict.fromkeys(key for each in typed for key in each if not key.startswith("hydra."))
    return [key for key in keys if _differs(key, typed, composed)]


def _differs(key: str, typed: Sequence[Mapping[str, str]], composed: Sequence[Composed]) -> bool:
    if all(key in each for each in typed):
        return len({each[key] for each in typed}) > 1
    values = (_value_of(key, one.values, one.choices) for one in composed)
    return len({"" if value is _MISSING else f"={identity(value)}" for value in values}) > 1


def typed_once(
    keys: Sequence[str], composed: Sequence[Composed], settings: Sequence[Settings]
) -> list[int]:
    """The places of the jobs, of those that are one and the same the first.

    They are the same where their swept values are, and all that decides their result.
    """
    found: dict[object, int] = {}
    for place, (one, given) in enumerate(zip(composed, settings, strict=True)):
        swept = {key: identity(value) for key, value in swept_values(keys, one).items()}
        # The dataset is not loaded yet: its options stand for its digest.
        same = (given.fingerprint(repr(given.dataset)), *swept.items())
        found.setdefault(same, place)
    return list(found.values())
