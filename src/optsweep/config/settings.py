"""The schema of conf/: the settings of a run, typed and checked.

`Settings.from_config` takes Hydra's composed config once, in `cli`, as plain containers.
It returns a frozen dataclass that everything below works with, or raises one `SettingsError`
that says what was given, what is allowed and what to type instead. Nothing here imports torch,
so that a typing error is answered at once.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from optsweep.config.validators import (
    Check,
    check_address,
    check_held_out,
    device,
    folder,
    fraction,
    integer,
    integer_or,
    margin,
    one_of,
    optional,
    positive,
    rate_range,
    share,
    text,
    yes_or_no,
)
from optsweep.errors import SettingsError, nearest
from optsweep.system.project_folder import command
from optsweep.system.redaction import redacted

GROUPS = ("dataset", "model", "optimizer", "loss", "schedule")

# What says where data lies or how it gets here: the dataset's digest stands for its content.
_PLACES = ("path", "mirror", "skip_broken")

# Fields that decide a run's result, as the groups and the device do.
_DECISIVE = ("lr", "batch_size", "epochs", "seed", "val_fraction", "precision", "evaluate_first")

# Fields that decide it too, with what they are where nobody asks for more: runs that were trained
# before there was a choice keep their fingerprints.
_PLAIN = {"select": "last", "patience": None, "clip_norm": None, "no_decay": False}

# Fields that conf/config.yaml has under another name.
_NESTED = {"tracking_uri": "tracking.uri", "experiment": "tracking.experiment"}


def _checked(check: Check) -> Any:
    """A dataclass field with the check that its value has to pass."""
    return field(metadata={"check": check})


@dataclass(frozen=True, slots=True)
class Option:
    """One file of a config group: the option's name, what it builds, and with which arguments.

    `rates` are the lowest and the highest learning rate that an optimizer is usually tried at
    (`_rates_` of its file): advice for a grid, which changes nothing about a run.
    """

    name: str
    target: str
    arguments: Mapping[str, Any]
    rates: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)  # of ten thousand runs
class Settings:
    """One run, as typed and checked values. Fields are the words of conf/config.yaml."""

    dataset: Option
    model: Option
    optimizer: Option
    loss: Option
    schedule: Option
    preset: str | None = None

    lr: float = _checked(positive)
    batch_size: int = _checked(integer(1, "64"))
    epochs: int = _checked(integer(1, "10"))
    seed: int = _checked(integer(0, "0"))
    device: str = _checked(device)
    clip_norm: float | None = _checked(optional(positive))
    no_decay: bool = _checked(yes_or_no)
    val_fraction: float = _checked(fraction)
    threads: int | None = _checked(optional(integer(1, "2")))
    select: str = _checked(one_of("last", "best"))
    patience: int | None = _checked(optional(integer(1, "5")))
    precision: str = _checked(one_of("fp32", "tf32", "bf16"))
    evaluate_first: bool = _checked(yes_or_no)
    figures: str = _checked(one_of("none", "best", "all"))
    log_model: bool = _checked(yes_or_no)
    log_every: int = _checked(integer(1, "100"))
    checkpoint_every: int = _checked(integer(1, "1"))
    resume: bool = _checked(yes_or_no)
    target: float | None = _checked(optional(share))
    extend: int = _checked(integer(0, "3"))
    confirm: int | str | None = _checked(optional(integer_or("auto", 2, "5")))
    max_seeds: int = _checked(integer(3, "20"))
    margin: float = _checked(margin)
    compare: str | None = _checked(optional(text("optimizer")))
    rates: int = _checked(integer(1, "5"))
    plan: bool = _checked(yes_or_no)
    check: bool = _checked(yes_or_no)
    open: bool = _checked(yes_or_no)
    data_dir: Path = _checked(folder)  # noqa: RUF009 (a field, as the others are)
    experiment: str = _checked(text("optsweep"))
    tracking_uri: str = _checked(check_address)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], choices: Mapping[str, Any]) -> "Settings":
        """Checks a composed config and turns it into settings.

        `config` holds plain containers with interpolations resolved; `choices` maps each config
        group to the name of the option chosen (Hydra's `hydra.runtime.choices`).

        Raises:
            SettingsError: a value is missing, unknown, of the wrong type or out of its range.
        """
        given = {key: value for key, value in config.items() if key not in (*GROUPS, "tracking")}
        given |= _dotted("tracking", config.get("tracking"))
        schema = {_NESTED.get(f.name, f.name): f for f in fields(cls) if "check" in f.metadata}
        _refuse_unknown(given, schema)
        values = {f.name: _read(name, f, given) for name, f in schema.items()}
        check_held_out(values)
        options: dict[str, Any] = {
            group: _option(group, config.get(group), choices) for group in GROUPS
        }
        _check_dataset_options(options["dataset"].arguments)
        preset = choices.get("preset")
        return cls(**options, **values, preset=None if preset in (None, "none") else str(preset))

    def params(self) -> dict[str, Any]:
        """The run's parameters under the short flat names that MLflow shows.

        A group gives its option's name and each of its arguments dotted. `optimizer.lr` is left
        out where it only repeats `lr`, and so are other repetitions of top-level values. Addresses
        are without their secrets.
        """
        params: dict[str, Any] = {}
        for group in GROUPS:
            option: Option = getattr(self, group)
            params[group] = option.name
            for key, value in _flat(group, option.arguments):
                if not _repeats(self, key, value):
                    params[key] = value
        for name in ("lr", "batch_size", "epochs", "seed", "device", "val_fraction", "precision"):
            params[name] = getattr(self, name)
        return redacted(params | self._chosen())

    def fingerprint(self, digest: str) -> str:
        """A hash of what decides the result: equal fingerprints give equal metrics.

        `digest` is the dataset's. Threads, the device's index, folders, addresses, logging and
        the option's names are left out: they change where and how fast, not what.
        """
        content = {
            "digest": digest,
            "device": self.device.partition(":")[0],
            **{group: _identity(getattr(self, group)) for group in GROUPS},
            **{name: getattr(self, name) for name in _DECISIVE},
            **self._chosen(),
        }
        canonical = json.dumps(_as_floats(content), sort_keys=True, default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]

    def _chosen(self) -> dict[str, Any]:
        """What was chosen of the fields of `_PLAIN`."""
        given = {name: getattr(self, name) for name in _PLAIN}
        return {name: value for name, value in given.items() if value != _PLAIN[name]}


def _flat(name: str, arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Arguments under their dotted names, those of an optimizer's parts too."""
    for key, value in arguments.items():
        # One text for all runs, of which there may be ten thousand.
        dotted = sys.intern(f"{name}.{key.strip('_') if key.startswith('_') else key}")
        if isinstance(value, Mapping) and value:
            yield from _flat(dotted, value)
        else:
            yield dotted, value


def _repeats(settings: Settings, name: str, value: Any) -> bool:
    """Whether a group's argument only repeats a top-level value (`lr: ${lr}`)."""
    key = name.rpartition(".")[2]
    source = {"lr": "lr", "max_lr": "lr", "T_max": "epochs", "epochs": "epochs"}.get(key)
    return source is not None and value == getattr(settings, source)


def _as_floats(value: Any) -> Any:
    """The same content with integers as floats: `lr=1` and `lr=1.0` are one rate."""
    if isinstance(value, Mapping):
        return {key: _as_floats(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_floats(item) for item in value]
    # A float holds integers up to 2**53; a larger one (a seed) stays what it is.
    is_small = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**53
    return float(value) if is_small else value


def _identity(option: Option) -> dict[str, Any]:
    kept = {key: value for key, value in option.arguments.items() if key not in _PLACES}
    if kept.get("augment") == "none":  # as datasets were before there was a choice
        del kept["augment"]
    return {"target": option.target, **kept}


def _read(name: str, f: "Field[Any]", given: Mapping[str, Any]) -> Any:
    if name not in given:
        raise SettingsError(
            f"{name} is missing from conf/config.yaml; put it back, or leave ~{name} out"
        )
    value = given[name]
    if isinstance(value, Sequence) and not isinstance(value, str):
        raise SettingsError(
            f"{name}={list(value)}: one value is needed; several make a sweep: "
            f"{command()} -m {name}={','.join(map(str, value))}"
        )
    return f.metadata["check"](name, value)


def _dotted(name: str, node: Any) -> dict[str, Any]:
    """A nested node's values under their dotted names."""
    if node is not None and not isinstance(node, Mapping):
        inside = " or ".join(f"{key}=VALUE" for key in _NESTED.values() if key.startswith(name))
        raise SettingsError(f"{name}={node}: it holds several values; type {inside}")
    return {f"{name}.{key}": value for key, value in (node or {}).items()}


def _refuse_unknown(given: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    allowed = [*GROUPS, "preset", *schema]
    for name in given:
        if name not in schema:
            best = nearest(name.lower(), allowed)
            hint = f"did you mean {best}?" if best else f"there are {', '.join(allowed)}"
            raise SettingsError(f"{name}={given[name]}: there is no such value; {hint}")


def _option(group: str, node: Any, choices: Mapping[str, Any]) -> Option:
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        raise SettingsError(
            f"{group}={node}: conf/{group}/ has no such option with a _target_; type {group}= and "
            f"the name of a file in conf/{group}/, whose _target_ names what it builds"
        )
    chosen = choices.get(group)
    if not isinstance(chosen, str):
        raise SettingsError(
            f"{group} is given several options; type one, or for a sweep over them "
            f"{command()} -m {group}=NAME,NAME"
        )
    arguments = {key: value for key, value in node.items() if key not in ("_target_", "_rates_")}
    rates = rate_range(f"{group}._rates_", node.get("_rates_"))
    return Option(chosen.removesuffix(".yaml"), node["_target_"], arguments, rates)


def _check_dataset_options(arguments: Mapping[str, Any]) -> None:
    """Every dataset has these options, whatever its source."""
    if "shuffle" in arguments:
        yes_or_no("dataset.shuffle", arguments["shuffle"])
    if "normalize" in arguments:
        yes_or_no("dataset.normalize", arguments["normalize"])
    if "augment" in arguments:
        one_of("none", "flip", "crop_flip")("dataset.augment", arguments["augment"])
    for name, example in (("limit", "1000"), ("resize", "32"), ("size", "32")):
        if arguments.get(name) is not None:
            integer(1, example)(f"dataset.{name}", arguments[name])
