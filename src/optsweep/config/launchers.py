"""Where a sweep runs: `hydra.launcher.*` of local processes, Slurm and Ray.

These are the settings alone, typed and checked; the executors of `execution` act on them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from optsweep.config.settings import Settings
from optsweep.config.validators import (
    Check,
    fraction,
    integer,
    one_of,
    optional,
    positive,
    refuse,
    text,
    yes_or_no,
)
from optsweep.errors import SettingsError
from optsweep.records.values import is_number


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a sweep runs: `hydra.launcher.*`.

    `workers` and `stack` None stand for auto, `timeout` is in seconds. `at_once` are the runs that
    are trained at once at most, those of stacks counted (`hydra.sweeper.max_batch_size`); `verbose`
    names the loggers that log what is for debugging, "" all of them (`hydra.verbose`).
    """

    workers: int | None = None
    stack: int | None = None
    retries: int = 0
    timeout: float | None = None
    fail_fast: bool = False
    at_once: int | None = None
    verbose: Sequence[str] = ()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Launch":
        """Checks the launcher's config.

        Raises:
            SettingsError: a value is of the wrong type or out of its range.
        """

        def named(name: str, check: Check) -> Any:
            return check(f"hydra.launcher.{name}", config[name])

        workers = config["workers"]
        return cls(
            workers=None if workers == "auto" else named("workers", integer(0, "auto")),
            stack=None if config["stack"] == "auto" else named("stack", integer(1, "auto")),
            retries=named("retries", integer(0, "1")),
            timeout=named("timeout", optional(positive)),
            fail_fast=named("fail_fast", yes_or_no),
        )


@dataclass(frozen=True, kw_only=True)
class ClusterLaunch(Launch):
    """What all clusters are asked for: the cores, GPUs and memory (GB) of one run.

    `workers` are the runs that go side by side at most; None leaves it to the cluster.
    """

    cpus: float = 1
    gpus: float = 0
    memory: float | None = None

    def placed(self, settings: Settings) -> Settings:
        """The settings with the device and threads that a run has where it will run.

        Raises:
            SettingsError: the run is to use a GPU and is given none.
        """
        device = settings.device
        if device == "auto":
            device = "cuda" if self.gpus else "cpu"
        if device.startswith("cuda") and not self.gpus:
            raise SettingsError(
                f"device={settings.device}: a run is given no GPU; type hydra.launcher.gpus=1"
            )
        threads = settings.threads or max(1, int(self.cpus))
        return replace(settings, device=device.partition(":")[0], threads=threads)


@dataclass(frozen=True, kw_only=True)
class SlurmLaunch(ClusterLaunch):
    """`hydra/launcher=slurm`; `time` in minutes, `options` are sbatch's own, by their names."""

    partition: str | None = None
    time: int = 60
    requeues: int = 10
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "SlurmLaunch":
        """Checks the launcher's config.

        Raises:
            SettingsError: a value is of the wrong type or out of its range.
        """
        return cls(
            **_common(config, integer(1, "1"), integer(0, "1")),
            partition=_named(config, "partition", optional(text("gpu"))),
            time=_named(config, "time", integer(1, "60")),
            requeues=_named(config, "requeues", integer(0, "10")),
            options=_named(config, "options", _mapping("{account: physics}")),
        )


@dataclass(frozen=True, kw_only=True)
class RayLaunch(ClusterLaunch):
    """`hydra/launcher=ray`; `shared` says whether all nodes see the sweep's folder (None: auto)."""

    address: str = "auto"
    resources: Mapping[str, Any] = field(default_factory=dict)
    shared: bool | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "RayLaunch":
        """Checks the launcher's config, as `Launch.from_config` does."""
        shared = _named(config, "shared", one_of("auto", "True", "False", "true", "false"))
        resources = _named(config, "resources", _mapping("{fast: 1}"))
        for name, amount in resources.items():
            positive(f"hydra.launcher.resources.{name}", amount)
        return cls(
            **_common(config, positive, _amount),
            address=_named(config, "address", _ray_address),
            resources=resources,
            shared=None if shared == "auto" else shared.lower() == "true",
        )


def _named(config: Mapping[str, Any], name: str, check: Check) -> Any:
    value = config[name]
    return check(f"hydra.launcher.{name}", str(value) if isinstance(value, bool) else value)


def _common(config: Mapping[str, Any], cpus: Check, gpus: Check) -> dict[str, Any]:
    side_by_side = _named(config, "max_parallel", optional(integer(1, "8")))
    launch = Launch.from_config({**config, "workers": side_by_side or "auto"})
    count = _named(config, "gpus", gpus)
    return {
        **asdict(launch),
        # How much fits on a GPU of another machine is not known here.
        "stack": 1 if launch.stack is None and count else launch.stack,
        "cpus": _named(config, "cpus", cpus),
        "gpus": count,
        "memory": _named(config, "memory", optional(positive)),
    }


def _amount(name: str, value: Any) -> float:
    """GPUs: whole ones, or a share of one."""
    if is_number(value) and 0 <= value < 1:
        return fraction(name, value)
    if not is_number(value) or value < 0 or value != int(value):
        raise refuse(name, value, "must be a share of one GPU or an integer", "0.5")
    return float(value)


def _mapping(example: str) -> Check:
    def check(name: str, value: Any) -> dict[str, Any]:
        value = {} if value is None else value
        if not isinstance(value, Mapping):
            raise refuse(name, value, "must be names with values", f"'{example}'")
        return {str(key): item for key, item in value.items()}

    return check


def _ray_address(name: str, value: Any) -> str:
    if not re.fullmatch(r"auto|local|ray://\S+:\d+|[\w.-]+:\d+", str(value)):
        raise refuse(name, value, "must be auto, local, host:port or ray://host:port", "auto")
    return str(value)
