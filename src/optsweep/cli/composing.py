"""Composes the jobs of a sweep: once for each choice of groups, single values onto copies.

Hydra takes some 50 ms to compose a config; most jobs of a sweep differ in single values alone,
which Hydra applies last, one after another, to what the groups gave. So does this, on a copy.
"""

import copy
import functools
import os
import re
from collections.abc import Iterator, Sequence
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
from optsweep.system.redaction import redact, redacted


@dataclass(frozen=True)
class Composed:
    """One job's config: `values` resolved, as plain containers, and what Hydra knows of the job."""

    values: dict[str, Any]
    unresolved: dict[str, Any]
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
        for name, content in (
            ("config.yaml", self.unresolved),
            ("hydra.yaml", {"hydra": hydra}),
            ("overrides.yaml", self.overrides),
        ):
            files.write(target / name, to_yaml(redacted(content)), durable=False)


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


def _dirname(parsed: Sequence[Override], about: Any) -> str:
    """The overrides as a folder's name, by Hydra's settings for it; 1.4 has a resolver instead."""
    named = [o for o in parsed if not o.key_or_group.startswith("hydra.")]
    lines = [o.input_line or "" for o in named if o.key_or_group not in about.exclude_keys]
    return str(about.item_sep).join(sorted(lines)).replace("=", about.kv_sep)


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
        self._hydra: dict[str, Any] = {}
        subdir = plain(config.hydra.sweep)["subdir"]
        # Hydra's own values are set below for each job; others are looked up in the job's config.
        self._named_by_values = bool(re.search(r"\$\{(?!hydra[.:])", str(subdir)))

    def job(
        self, parsed: list[Override], single: list[Override], overrides: list[str], number: int
    ) -> Composed:
        """A copy with the single values applied, as Hydra applies them."""
        own = copy.deepcopy(self._own)
        for override in single:
            OmegaConf.update(own, override.key_or_group, override.value(), merge=True)
        # What `set_config` comes to, whose copy for each job takes longer than all else.
        HydraConfig.instance().cfg = self._config
        hydra = self._config.hydra
        with flag_override(hydra, ["readonly", "struct"], False):
            hydra.job.id = str(number)
            hydra.job.num = number
            hydra.overrides.task = [o for o in overrides if not o.startswith("hydra.")]
            hydra.job.override_dirname = redact(_dirname(parsed, hydra.job.config.override_dirname))
            folder = _inside(Path(hydra.sweep.dir).absolute(), redact(self._subdir(own)))
            hydra.runtime.output_dir = str(folder)
        if not self._hydra:
            self._hydra = plain(hydra)
        return Composed(
            values=plain(own, resolve=True),
            unresolved=plain(own),
            choices=self._choices,
            overrides=list(overrides),
            number=number,
            dirname=str(hydra.job.override_dirname),
            folder=folder,
            subfolder=hydra.output_subdir,
            hydra=self._hydra,
        )

    def _subdir(self, own: Any) -> str:
        """The run's folder inside the sweep's, which values of the run's `own` config may name."""
        hydra = self._config.hydra
        if not self._named_by_values:
            return str(hydra.sweep.subdir)
        whole = copy.deepcopy(own)
        with flag_override(whole, ["readonly", "struct"], False):
            whole.hydra = hydra
        return str(whole.hydra.sweep.subdir)


def plain(config: DictConfig, resolve: bool = False) -> dict[str, Any]:
    """The config as plain containers."""
    content = OmegaConf.to_container(config, resolve=resolve, enum_to_str=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
