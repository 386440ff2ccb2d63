"""Composes the jobs of a sweep: once for each choice of groups, then single values.

Hydra takes some 50 ms to compose a config; most jobs of a sweep differ in single values alone,
which Hydra applies last, one after another, to what the groups gave. So does this, and takes them
back for the next job.
"""

import copy
import functools
import os
import re
import textwrap
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from optsweep.cli.compat.omegaconf import to_yaml
from optsweep.errors import SettingsError
from optsweep.system import files
from optsweep.system.redaction import redact

# Names of values of the config: `${lr}`, `${model.hidden}`.
_NAMED = re.compile(r"\$\{(?!hydra\.)(\w+)[\w.]*\}")
# What else may be another value in each job: all but what holds for the whole process.
_ASKING = re.compile(r"\$\{(?!(project_root|oc\.env):)")

_ANY = "*"  # stands for values without a name
_NUMBER = "${hydra.job.num}"  # what names a run's folder, unless something else is typed


@dataclass(frozen=True)
class Composed:
    """One job's config: `values` resolved, as plain containers, and what Hydra knows of the job."""

    values: dict[str, Any]
    unresolved: Mapping[str, Any]
    choices: dict[str, Any]
    overrides: list[str]
    number: int
    dirname: str
    folder: Path
    subfolder: str | None
    hydra: dict[str, Any]

    def keep(self, folder: Path) -> None:
        """Writes `.hydra/` into a run's folder, as Hydra's own launchers do."""
        if self.subfolder is None:
            return
        target = folder / self.subfolder
        target.mkdir(parents=True, exist_ok=True)
        own = {"id": str(self.number), "num": self.number, "override_dirname": self.dirname}
        job = self.hydra["job"] | own
        overrides = self.hydra["overrides"] | {"task": self.overrides}
        runtime = self.hydra["runtime"] | {"output_dir": str(folder)}
        hydra = self.hydra | {"job": job, "overrides": overrides, "runtime": runtime}
        for name, text in (
            ("config.yaml", to_yaml(dict(self.unresolved))),
            ("hydra.yaml", "hydra:\n" + textwrap.indent(to_yaml(hydra), "  ")),
            ("overrides.yaml", to_yaml(self.overrides)),
        ):
            files.write(target / name, text, durable=False)


def compose(
    context: HydraContext, config: DictConfig, job_overrides: Sequence[Sequence[str]], first: int
) -> Iterator[Composed]:
    """Composes each job, in order; `config` is the sweep's own, `first` the first job's number.

    Raises:
        HydraException: an override names no group, option or value.
        SettingsError: `hydra.sweep.subdir` names a folder outside that of the sweep.
    """
    loader = context.config_loader
    parser = OverridesParser.create(config_loader=loader)
    bases: dict[tuple[str, ...], _Base] = {}

    @functools.cache
    def is_group(key: str) -> bool:
        return bool(loader.list_groups(key) or loader.get_group_options(key))

    @functools.cache
    def parse(override: str) -> Override:
        return parser.parse_overrides([override])[0]

    for number, overrides in enumerate(job_overrides, start=first):
        parsed = [parse(override) for override in overrides]
        single = [o for o in parsed if _is_single_value(o) and not is_group(o.key_or_group)]
        shaping = tuple(o.input_line or "" for o in parsed if o not in single)
        if shaping not in bases:
            bases[shaping] = _Base(loader.load_sweep_config(config, list(shaping)))
        try:
            job = bases[shaping].job(parsed, single, list(overrides), number)
        except OmegaConfBaseException:
            loader.load_sweep_config(config, list(overrides))  # which names the value at fault
            raise
        yield job


def _is_single_value(override: Override) -> bool:
    """Whether an override changes a value that exists, where it does not name a group."""
    changes = override.type is OverrideType.CHANGE and override.package is None
    return changes and not override.key_or_group.startswith("hydra.")


def _dirname(parsed: Sequence[Override], about: Mapping[str, Any]) -> str:
    """The overrides as a folder's name, by Hydra's settings for it; 1.4 has a resolver instead."""
    named = [o for o in parsed if not o.key_or_group.startswith("hydra.")]
    lines = [o.input_line or "" for o in named if o.key_or_group not in about["exclude_keys"]]
    return str(about["item_sep"]).join(sorted(lines)).replace("=", about["kv_sep"])


def _inside(sweep: Path, name: str) -> Path:
    """A run's folder in that of its sweep."""
    folder = Path(os.path.normpath(sweep / name))
    if Path(os.path.normpath(sweep)) not in folder.parents:
        raise SettingsError(
            f"hydra.sweep.subdir={name}: it is not inside the sweep's folder; type for example "
            "'hydra.sweep.subdir=${hydra.job.num}'"
        )
    return folder


class _Base:
    """What one choice of groups composes to."""

    def __init__(self, config: DictConfig) -> None:
        self._config: Any = config
        HydraConfig.instance().set_config(config)
        self._own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        OmegaConf.set_struct(self._own, True)
        self._choices = dict(config.hydra.runtime.choices)
        self._hydra = plain(config.hydra)
        self._naming = plain(config.hydra.job.config.override_dirname, resolve=True)
        self._subdir = str(self._hydra["sweep"]["subdir"])
        self._plain = plain(self._own)
        self._shared: dict[str, Any] = {}  # what jobs have in common, by key and content
        self._resolved: dict[str, Any] = {}  # as they are where no job changes them
        self._deciding = {key: _deciding(key, self._plain) for key in self._plain}
        # Whether Hydra's own values are to be set for each job, which takes milliseconds.
        asked = any(_ANY in names for names in self._deciding.values())
        asked |= "${" in str(self._hydra["output_subdir"])
        self._asks_hydra = asked or self._subdir != _NUMBER
        named = {each for key, names in self._deciding.items() for each in names if each != key}
        self._alone = {
            key for key, value in self._plain.items() if key not in named and _is_scalar(value)
        }

    def job(
        self, parsed: list[Override], single: list[Override], overrides: list[str], number: int
    ) -> Composed:
        """What it is with the single values applied, as Hydra applies them."""
        asking = self._asks_hydra or any("${" in override for override in overrides)
        given = {o.key_or_group for o in single if asking or not self._replaces(o)}
        with self._changed([o for o in single if o.key_or_group in given]) as changed:
            changed |= {o.key_or_group: o.value() for o in single if o.key_or_group not in given}
            return self._job(parsed, changed, overrides, number, asking)

    def _replaces(self, override: Override) -> bool:
        """Whether the override gives one value for another which decides nothing else."""
        return override.key_or_group in self._alone and _is_final(override.value())

    @contextmanager
    def _changed(self, single: list[Override]) -> Iterator[dict[str, Any]]:
        """Applies the values to the config as long as the block runs: a copy takes longer.

        Gives what they changed, unresolved.
        """
        if not single:
            yield {}
            return
        keys = list(dict.fromkeys(re.split(r"[.\[]", o.key_or_group)[0] for o in single))
        keys = [key for key in keys if key in self._plain]
        try:
            for override in single:
                OmegaConf.update(self._own, override.key_or_group, override.value(), merge=True)
            yield plain(OmegaConf.masked_copy(self._own, keys))
        finally:
            for key in keys:
                self._own[key] = self._plain[key]

    def _job(
        self,
        parsed: list[Override],
        changed: dict[str, Any],
        overrides: list[str],
        number: int,
        asking: bool,
    ) -> Composed:
        # What `set_config` comes to, whose copy for each job takes longer than all else.
        HydraConfig.instance().cfg = self._config
        dirname = redact(_dirname(parsed, self._naming))
        hydra = self._config.hydra
        if asking:
            with flag_override(hydra, ["readonly", "struct"], False):
                hydra.job.id = str(number)
                hydra.job.num = number
                hydra.overrides.task = [o for o in overrides if not o.startswith("hydra.")]
                hydra.job.override_dirname = dirname
                folder = _inside(self._sweep, redact(self._name(number)))
                hydra.runtime.output_dir = str(folder)
        else:
            folder = _inside(self._sweep, str(number))
        return Composed(
            values=self._values(changed),
            unresolved=ChainMap(changed, self._plain),
            choices=self._choices,
            overrides=list(overrides),
            number=number,
            dirname=dirname,
            folder=folder,
            subfolder=hydra.output_subdir,
            hydra=self._hydra,
        )

    def _values(self, changed: Mapping[str, Any]) -> dict[str, Any]:
        """The job's values, resolved; it shares with others of this base those that are alike."""
        own = {key: self._value(key, changed) for key in self._plain}
        return {
            key: self._shared.setdefault(f"{key}: {value!r}", value) for key, value in own.items()
        }

    def _value(self, key: str, changed: Mapping[str, Any]) -> Any:
        """One of the job's values, resolved: OmegaConf takes half a millisecond for it."""
        if key in changed and _is_final(changed[key]):
            return changed[key]
        # By what it is decided may be another one than where nothing is changed.
        if _ANY in self._deciding[key] or not self._deciding[key].isdisjoint(changed):
            return self._resolve(key)
        if key not in self._resolved:
            self._resolved[key] = self._resolve(key)
        return self._resolved[key]

    def _resolve(self, key: str) -> Any:
        if OmegaConf.is_missing(self._own, key):
            return "???"
        value = self._own[key]
        return plain(value, resolve=True) if OmegaConf.is_config(value) else value

    @functools.cached_property
    def _sweep(self) -> Path:
        """The sweep's folder."""
        return Path(self._config.hydra.sweep.dir).absolute()

    def _name(self, number: int) -> str:
        """The run's folder inside the sweep's, which values of the run's config may name."""
        if self._subdir == _NUMBER:
            return str(number)
        hydra = self._config.hydra
        # Hydra's own values are set for each job; others are looked up in the job's config.
        if not re.search(r"\$\{(?!hydra[.:])", self._subdir):
            return str(hydra.sweep.subdir)
        whole = copy.deepcopy(self._own)
        with flag_override(whole, ["readonly", "struct"], False):
            whole.hydra = hydra
        return str(whole.hydra.sweep.subdir)


def _deciding(key: str, values: Mapping[str, Any]) -> set[str]:
    """The keys of the values that decide a value, itself included, and `_ANY` where others may."""
    found, open_ones = set[str](), {key}
    while open_ones:
        each = open_ones.pop()
        text = repr(values[each]) if each in values else "${}"
        if _ASKING.search(_NAMED.sub("", text)):
            found.add(_ANY)
        found.add(each)
        open_ones |= set(_NAMED.findall(text)) - found
    return found


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _is_final(value: Any) -> bool:
    """Whether a value is what it resolves to."""
    return _is_scalar(value) and value != "???" and "${" not in str(value)


def plain(config: Any, resolve: bool = False) -> Any:
    """The config as plain containers."""
    content = OmegaConf.to_container(config, resolve=resolve, enum_to_str=True)
    if isinstance(content, dict):
        return {str(key): value for key, value in content.items()}
    return content
