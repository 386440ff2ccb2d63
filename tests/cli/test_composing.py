"""Composing a sweep's jobs once for each choice of groups gives what Hydra's own gives for each."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf, open_dict

from optsweep.cli.compat.omegaconf import register_resolver
from optsweep.cli.composing import compose
from optsweep.cli.folder_checks import new_folder
from optsweep.errors import FolderError
from optsweep.runs.owner import Owner
from support.command import ROOT, copy_project, run
from support.store import QUICK


@pytest.fixture(scope="module")
def sweeping() -> Iterator[tuple[HydraContext, DictConfig]]:
    """Hydra as it stands when a launcher is asked to launch."""
    GlobalHydra.instance().clear()
    setup_globals()
    register_resolver("project_root", lambda: "/somewhere")
    loader = ConfigLoaderImpl(create_config_search_path(str(ROOT / "conf")))
    config = loader.load_configuration("config", ["hydra.job.name=x"], RunMode.MULTIRUN)
    HydraConfig.instance().set_config(config)
    yield HydraContext(config_loader=loader, callbacks=Callbacks()), config


def by_hydra(
    context: HydraContext, config: DictConfig, overrides: list[str], number: int
) -> DictConfig:
    composed = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(composed):
        composed.hydra.job.id = str(number)
        composed.hydra.job.num = number
    return composed


VALUES = {
    "lr": ["1e-3", "0.1", "1"],
    "epochs": ["1", "20"],
    "optimizer": ["sgd", "adam", "rmsprop"],
    "optimizer.weight_decay": ["0.0", "1e-2"],
    "model.hidden": ["[32]", "[8,8]"],
    "schedule": ["constant", "one_cycle"],
    "preset": ["quickstart", "fashion_softmax"],
    "dataset.limit": ["100", "null"],
    "tracking.experiment": ["mine", "'two words'"],
    "+optimizer.maximize": ["false"],
    # What names another value, or one of Hydra's own, may be another one in each job.
    "seed": ["1", "'1e3'", "null", "${epochs}", "${hydra:job.num}"],
    "+optimizer.other": ["${optimizer.lr}", "${.lr}", "${${hydra.job.name}}", "'\\${seed}'"],
    "+optimizer.note": ["${seed}", "${hydra:job.num}", "${oc.env:PATH}"],
}
overrides = st.lists(st.sampled_from(list(VALUES)), unique=True, max_size=5).flatmap(
    lambda keys: st.tuples(
        *(st.sampled_from(VALUES[key]).map(f"{key}={{}}".format) for key in keys)
    )
)


@pytest.mark.long
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(overrides.map(list), min_size=1, max_size=3))
@example([["epochs=5", "batch_size=${epochs}"], ["batch_size=${epochs}", "epochs=7"]])
@example([["seed=1"], ["epochs=5", "epochs=${seed}"], ["clip_norm=2", "clip_norm={a:1}"]])
@example([["optimizer.weight_decay=${..epochs}", "epochs=3"], ["model.hidden=[${epochs}]"]])
def test_outcome_equals_hydras(
    sweeping: tuple[HydraContext, DictConfig], jobs: list[list[str]]
) -> None:
    context, config = sweeping
    try:
        expected = [by_hydra(context, config, job, place) for place, job in enumerate(jobs)]
    except HydraException as error:
        with pytest.raises(type(error)):
            list(compose(context, config, jobs, 0))
        return
    for ours, theirs in zip(compose(context, config, jobs, 0), expected, strict=True):
        own = OmegaConf.masked_copy(theirs, [str(key) for key in theirs if key != "hydra"])
        assert ours.unresolved == OmegaConf.to_container(own)
        HydraConfig.instance().set_config(theirs)
        assert ours.values == OmegaConf.to_container(own, resolve=True)
        assert ours.choices == dict(theirs.hydra.runtime.choices)


def test_hydras_own_values_of_each_job_name_what_is_written(
    sweeping: tuple[HydraContext, DictConfig],
) -> None:
    context, _ = sweeping
    typed = ["hydra.job.name=x", "hydra.output_subdir=of-${hydra.job.num}"]
    config = context.config_loader.load_configuration("config", typed, RunMode.MULTIRUN)
    jobs = compose(context, config, [["seed=1"], ["seed=2"]], 3)
    assert [job.subfolder for job in jobs] == ["of-3", "of-4"]


@pytest.mark.long
def test_what_is_written_into_a_runs_folder_equals_hydras(project: Path) -> None:
    """Whole sweeps, one by Hydra's own launcher, which gives no table, one by ours."""
    other = copy_project(project.parent / "other")
    hydras = other / "conf" / "hydra" / "launcher" / "hydras.yaml"
    hydras.parent.mkdir()
    hydras.write_text("_target_: hydra._internal.core_plugins.basic_launcher.BasicLauncher\n")
    grid = ("-m", "optimizer=sgd,adam", "lr=1e-2,1e-1", *QUICK, "figures=none")
    plain = ("hydra/launcher=hydras", "hydra.job_logging.root.handlers=[file]")
    assert run(project, *grid).returncode == 0
    done = run(other, *grid, *plain)
    assert done.returncode == 0
    assert done.stdout.startswith("hydra/launcher=hydras trains each run for itself: there will")
    (ours,), (theirs,) = ((root / "outputs").glob("*/*") for root in (project, other))
    for job in ("0", "3"):
        for name in ("config.yaml", "overrides.yaml"):
            assert read(ours / job / ".hydra" / name) == read(theirs / job / ".hydra" / name), name
        mine, hydras = (read(root / job / ".hydra/hydra.yaml")["hydra"] for root in (ours, theirs))
        assert mine.keys() == hydras.keys()
        assert mine["job"]["num"] == hydras["job"]["num"] == int(job)
        unresolved = "${hydra_override_dirname:}"  # which Hydra 1.4 writes
        named = mine["job"]["override_dirname"]
        assert hydras["job"]["override_dirname"] in (named, unresolved)
        assert mine["overrides"]["task"] == hydras["overrides"]["task"]
        assert mine["runtime"]["output_dir"] == str(ours / job)
        choices = hydras["runtime"]["choices"] | {"hydra/launcher": "local"}
        assert mine["runtime"]["choices"] == choices


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.long
def test_sweeps_that_start_in_the_same_moment_share_no_folder(tmp_path: Path) -> None:
    wanted = [tmp_path / "outputs" / "12-00-00-sweep"] * 8
    with ThreadPoolExecutor(8) as together:
        folders = list(together.map(new_folder, wanted))
    assert len(set(folders)) == 8
    assert all(folder.is_dir() for folder in folders)


@pytest.mark.long
def test_a_folder_that_is_in_use_is_refused(tmp_path: Path) -> None:
    with Owner(tmp_path), pytest.raises(FolderError, match="in use"), Owner(tmp_path):
        pass
