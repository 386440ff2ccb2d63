"""From a composed config to a checked job.

`job_from_composed` makes a job of a sweep, `new_job` any job: `preflight` tries the settings, and
the fingerprint is computed. Code behind this module does not know Hydra's config.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optsweep.cli.composing import Composed
from optsweep.cli.yaml import to_yaml
from optsweep.config.settings import Settings
from optsweep.errors import SettingsError
from optsweep.system.redaction import redacted

if TYPE_CHECKING:
    from optsweep.runs.job import Job


def job_from_composed(
    composed: Composed, settings: Settings, swept: Iterable[str], device: str | None = None
) -> "Job":
    """A composed job of a sweep, checked; `device` is that of the machine it will run on.

    Raises:
        OptsweepError: the job cannot run.
    """
    values = {key: redacted(_value_of(key, composed.values, composed.choices)) for key in swept}
    return new_job(settings, composed.values, composed.folder, composed.overrides, values, device)


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
    from optsweep.data.dataset import load_dataset
    from optsweep.runs.job import Job
    from optsweep.runs.preflight import checked
    from optsweep.training.device import check_precision

    if device is None:
        settings = checked(settings)
    else:
        settings = replace(settings, device=device)
        check_precision(settings)
        checked(replace(settings, device="cpu", precision="fp32"))
    fingerprint = settings.fingerprint(load_dataset(settings).digest)
    config = to_yaml(redacted(values))
    return Job(settings, folder, fingerprint, overrides, swept, config)


def _value_of(key: str, config: Mapping[str, Any], choices: Mapping[str, Any]) -> Any:
    """The value of a swept key: a group's option, or the value at a dotted path."""
    if key in choices:
        return choices[key]
    node: Any = config
    for part in key.split("."):
        node = node[part]
    return node


def refuse_swept(keys: Iterable[str], settings: Sequence[Settings]) -> None:
    """Makes sure that what is asked of a sweep as a whole has one value.

    Raises:
        SettingsError: it was given several.
    """
    for key in keys:
        if key in ("target", "extend", "intervals"):
            values = list(dict.fromkeys(str(getattr(given, key)) for given in settings))
            raise SettingsError(
                f"{key}={','.join(values)}: a sweep has one {key}; type {key}={values[0]}"
            )


def swept_keys(job_overrides: Sequence[Sequence[str]]) -> list[str]:
    """The keys whose values differ between jobs, in the order in which they were typed."""
    seen: dict[str, set[str]] = {}
    for overrides in job_overrides:
        for override in overrides:
            key, _, value = override.partition("=")
            seen.setdefault(key.lstrip("+~").partition("@")[0], set()).add(value)
    return [key for key, values in seen.items() if len(values) > 1 and not key.startswith("hydra.")]
