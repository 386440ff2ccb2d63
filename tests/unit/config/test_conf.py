"""Every file under conf/ composes, becomes settings, and names something that can be called."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from torchvision.datasets import VisionDataset

from hydra_plugins.optsweep.grid import combinations
from optsweep.cli.grids import Grids
from optsweep.config.instantiate import check_arguments, resolve
from optsweep.config.settings import GROUPS, Option
from optsweep.data.builtin import torchvision_source
from optsweep.data.dataset import _COMMON
from optsweep.models.build import build_model
from optsweep.models.losses import build_loss
from optsweep.optim.optimizers import build_optimizer
from optsweep.optim.routing import Routed, parts_of
from optsweep.optim.schedules import check_schedule
from support.command import ROOT
from support.config import CONF, NAMES, OPTIONS, composed, config_of

PRESETS = sorted(file.stem for file in (CONF / "preset").iterdir())
SWEEPS = sorted(file.stem for file in (CONF / "sweep").glob("*.yaml") if file.stem != "none")
# What an option needs beside it: its own value, or the partner that it goes with.
COMPANY = {
    "image_folder": ["dataset.path=/pictures"],
    "scratch_softmax": ["loss=scratch_cross_entropy"],
    "scratch_cross_entropy": ["model=scratch_softmax"],
}


def test_the_defaults_are_an_offline_job_of_seconds() -> None:
    settings = composed()
    names = [getattr(settings, group).name for group in GROUPS]
    assert names == ["digits", "mlp", "sgd", "cross_entropy", "constant"]
    assert (settings.lr, settings.batch_size, settings.epochs, settings.seed) == (1e-3, 64, 10, 0)
    assert (settings.device, settings.val_fraction, settings.threads) == ("auto", 0.1, None)
    assert (settings.precision, settings.figures, settings.log_every) == ("fp32", "best", 100)
    assert not settings.evaluate_first and settings.preset is None


def test_data_and_tracking_lie_in_the_project_whatever_the_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = composed.__wrapped__()
    assert settings.data_dir == ROOT / "data"
    assert settings.tracking_uri == f"sqlite:///{ROOT}/mlflow.db"
    assert settings.experiment == "optsweep"


def test_the_environment_names_the_store_and_the_command_line_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert composed.__wrapped__().tracking_uri == "http://tracking:5000"
    assert composed("tracking.uri=sqlite:////a.db").tracking_uri == "sqlite:////a.db"


@pytest.mark.parametrize(("group", "name"), OPTIONS)
def test_every_option_composes_and_names_what_takes_its_arguments(group: str, name: str) -> None:
    settings = composed(f"{group}={name}", *COMPANY.get(name, []))
    option: Option = getattr(settings, group)
    assert option.name == name
    assert settings.params()[group] == name
    target = resolve(group, option)
    arguments = option.arguments
    if group == "dataset":
        arguments = {k: v for k, v in arguments.items() if k not in _COMMON}
        if isinstance(target, type) and issubclass(target, VisionDataset):
            target = torchvision_source
    if target is Routed:
        for part in parts_of(option):
            check_arguments(part.group, part.option, resolve(part.group, part.option))
        return
    check_arguments(group, Option(name, option.target, arguments), target)


@pytest.mark.parametrize("name", NAMES["model"])
def test_a_model_file_shows_the_defaults_of_its_class(name: str) -> None:
    option = composed(f"model={name}", *COMPANY.get(name, [])).model
    parameters = inspect.signature(resolve("model", option)).parameters
    defaults = {key: parameters[key].default for key in option.arguments}
    assert {key: list(v) if isinstance(v, tuple) else v for key, v in defaults.items()} == (
        option.arguments
    )


@pytest.mark.parametrize("name", NAMES["model"])
def test_every_model_builds_with_an_optimizer_and_a_loss(name: str) -> None:
    settings = composed(f"model={name}", *COMPANY.get(name, []))
    network = build_model(settings, (1, 28, 28), 10)
    assert build_optimizer(settings, network).param_groups
    losses = build_loss(settings, classes=10)(network(torch.rand(3, 1, 28, 28)), torch.arange(3))
    assert losses.shape == (3,) and losses.isfinite().all()


@pytest.mark.parametrize("shape", NAMES["schedule"])
@pytest.mark.parametrize("moves", NAMES["optimizer"])
def test_every_schedule_goes_with_every_optimizer(shape: str, moves: str) -> None:
    settings = replace(
        composed(f"optimizer={moves}"), schedule=composed(f"schedule={shape}").schedule
    )
    network = build_model(composed("model=mlp", "model.hidden=[3,3]"), (1, 2, 2), 3)
    check_schedule(settings, build_optimizer(settings, network))


@pytest.mark.parametrize("name", NAMES["optimizer"])
def test_every_optimizer_has_a_range_of_rates_with_its_source(name: str) -> None:
    low, high = composed(f"optimizer={name}").optimizer.rates or (0, 0)
    assert 0 < low < high
    (line,) = re.findall(r"^_rates_: .*", (CONF / f"optimizer/{name}.yaml").read_text(), re.M)
    assert " # " in line


def test_the_page_on_optimizers_shows_the_range_of_each_option() -> None:
    page = (ROOT / "docs/optimizers.md").read_text()
    for name in {*NAMES["optimizer"]} - {"scratch_sgd"}:
        text = (CONF / f"optimizer/{name}.yaml").read_text()
        (found,) = re.findall(r"^_rates_: \[(.+), (.+)\] # (.+)", text, re.M)
        assert f"| {found[0]} to {found[1]} | {found[2]} |" in page, name


@pytest.mark.parametrize("name", NAMES["dataset"])
def test_every_dataset_has_the_common_options(name: str) -> None:
    arguments = composed(f"dataset={name}", *COMPANY.get(name, [])).dataset.arguments
    common: Mapping[str, Any] = {key: arguments[key] for key in _COMMON}
    expected = {"shuffle": True, "limit": None, "resize": None, "normalize": False}
    assert common == {**expected, "augment": "none"}


@pytest.mark.long
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_composes_and_stays_overridable(name: str) -> None:
    assert composed(f"preset={name}").preset == (None if name == "none" else name)
    assert composed(f"preset={name}", "lr=0.25", "epochs=3", "dataset=digits").lr == 0.25
    changed = composed("dataset=digits", f"preset={name}", "epochs=3", "model=softmax")
    assert (changed.dataset.name, changed.model.name, changed.epochs) == ("digits", "softmax", 3)


@pytest.mark.long
@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_file_is_headed_by_its_command_and_its_jobs_compose(name: str) -> None:
    first, second, *_ = (CONF / "sweep" / f"{name}.yaml").read_text().splitlines()
    assert first == "# @package _global_"
    assert second == f"# python experiments/run.py sweep={name}"
    config = config_of(f"sweep={name}")
    sweeper = config.hydra.sweeper
    assert config.hydra.mode == RunMode.MULTIRUN
    params = [f"{key}={values}" for key, values in (sweeper.params or {}).items()]
    grids = Grids(sweeper.grids, params, [f"sweep={name}"])
    jobs = grids.jobs(OverridesParser.create(), combinations)
    assert len(jobs) > 4
    for job in [job for job in jobs if not {"seed=1", "seed=2"} & set(job)]:
        assert composed(*["lr=1" if typed == "lr=auto" else typed for typed in job])


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "none"])
def test_every_preset_is_headed_by_the_commands_that_run_it(name: str) -> None:
    text = (CONF / "preset" / f"{name}.yaml").read_text()
    first, second, *_ = text.splitlines()
    assert first == "# @package _global_"
    assert second == f"# python experiments/run.py preset={name}"
    for command in re.findall(r"#\s+python experiments/run\.py (.+)", text):
        assert composed(*command.split()).preset == name


def test_presets_set_up_what_their_tutorials_did() -> None:
    mlp = composed("preset=fashion_mlp")
    assert (mlp.dataset.name, mlp.model.name, mlp.optimizer.name) == ("fashion_mnist", "mlp", "sgd")
    assert (mlp.lr, mlp.batch_size, mlp.epochs, mlp.val_fraction) == (1e-3, 64, 10, 0)
    assert mlp.dataset.arguments["shuffle"] is False
    shuffled = composed("preset=fashion_mlp_shuffled")
    assert shuffled.dataset.arguments["shuffle"] is True and shuffled.epochs == 1
    assert (shuffled.lr, shuffled.batch_size, shuffled.val_fraction) == (1e-3, 64, 0)
    scratch = composed("preset=fashion_softmax_scratch")
    names = (scratch.model.name, scratch.optimizer.name, scratch.loss.name)
    assert names == ("scratch_softmax", "scratch_sgd", "scratch_cross_entropy")
    assert (scratch.lr, scratch.batch_size, scratch.epochs) == (0.1, 256, 10)
    cifar = composed("preset=cifar_cnn")
    assert cifar.dataset.arguments["train_on"] == "test" and not cifar.dataset.arguments["shuffle"]
    assert cifar.model.arguments["activation"] == "none"
    assert (cifar.lr, cifar.batch_size, cifar.epochs) == (1e-2, 1, 12)


def test_lr_reaches_the_optimizer_and_can_be_overridden_there_alone() -> None:
    assert composed("optimizer=adam", "lr=3e-2").optimizer.arguments["lr"] == 3e-2
    apart = composed("optimizer=adam", "lr=3e-2", "optimizer.lr=0.5")
    assert (apart.lr, apart.optimizer.arguments["lr"]) == (3e-2, 0.5)


@pytest.mark.parametrize("override", ["optimizer=adm", "lrr=1", "optimizer.momentun=0.9"])
def test_a_name_that_conf_does_not_have_is_refused(override: str) -> None:
    with pytest.raises(HydraException):
        config_of(override)


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda file: file.stem)
def test_every_file_is_one_screen_and_opens_with_what_it_is(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert len(lines) <= 60
    if file.parent.name != "help":  # a text for people from its first line to its last
        assert lines[0].startswith("# ") and lines[0][2:].strip()


def test_every_top_level_value_says_what_it_means() -> None:
    lines = (CONF / "config.yaml").read_text().splitlines()
    values = [line for line in lines if re.match(r"[a-z_]+: \S", line)]
    assert len(values) > 10
    assert all(" # " in line for line in values)


def test_a_config_group_never_bears_the_name_of_a_value() -> None:
    groups = {entry.name for entry in CONF.iterdir() if entry.is_dir()}
    assert groups == {*GROUPS, "preset", "sweep", "hydra"}
    assert not groups & {"lr", "batch_size", "epochs", "seed", "device", "val_fraction"}
