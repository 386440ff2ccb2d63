"""Private parts of other packages that are relied on: each use, what it gains, what breaks.

Where an upgrade changes one, its test fails with that sentence, before a user meets it. A test
here asks the other package alone whether the part is still as it was; what optsweep makes of it
has its tests elsewhere.
"""

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.canary import canary

# torch


@pytest.mark.long
def test_optimizers_are_made_without_the_compiler() -> None:
    with canary(
        "optsweep.optim.torch_internals sets `__dynamo_disable` on torch's optimizer methods, so "
        "that no "
        "process imports torch._dynamo: a second less for every start of the program and of the "
        "server of its workers. Without it all works, a second later."
    ):
        code = (
            "import sys, torch, optsweep.optim.optimizers\n"
            "optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)\n"
            "optimizer.zero_grad(); optimizer.load_state_dict(optimizer.state_dict())\n"
            "sys.exit('torch._dynamo' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_fused_adam_without_momentum_and_corrections_is_rmsprop() -> None:
    with canary(
        "optsweep.optim.rmsprop calls `torch.optim.adam.adam(fused=True)` with beta1=0 at step "
        "2**30, "
        "where it is RMSprop in one pass over the weights instead of five. Without it RMSprop is "
        "wrong or does not start: take torch's own then."
    ):
        import torch
        from torch.optim.adam import adam

        weights, gradient = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 0.25])
        mean, squares = torch.zeros(2), torch.tensor([0.1, 0.2])
        expected_squares = 0.9 * squares + 0.1 * gradient**2
        expected = weights - 0.01 * gradient / (expected_squares.sqrt() + 1e-8)
        adam(
            [weights],
            [gradient],
            [mean],
            [squares],
            [],
            [torch.tensor(2.0**30)],
            fused=True,
            amsgrad=False,
            beta1=0.0,
            beta2=0.9,
            lr=0.01,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
        assert torch.allclose(weights, expected, rtol=1e-6)
        assert torch.allclose(squares, expected_squares, rtol=1e-6)


def test_the_warning_about_a_step_outside_of_a_capture_can_be_silenced() -> None:
    with canary(
        "optsweep.optim.torch_internals sets `_warned_capturable_if_run_uncaptured`, so that the "
        "steps which "
        "warm a CUDA graph up print no warning. Without it each such sweep prints one."
    ):
        from torch.optim import Optimizer

        assert "_warned_capturable_if_run_uncaptured" in inspect.getsource(Optimizer)


# Hydra and OmegaConf


def test_hydra_applies_single_values_to_a_config() -> None:
    with canary(
        "optsweep.cli.composing applies a job's single values to a copy of a composed config with "
        "`OmegaConf.update`, as Hydra does, because Hydra takes some 50 ms to compose a job. Where "
        "Hydra does it otherwise, jobs are not what was typed: use `load_sweep_config` for each."
    ):
        from hydra._internal.config_loader_impl import ConfigLoaderImpl
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from omegaconf import OmegaConf

        config = OmegaConf.create({"lr": 0.1, "model": {"hidden": [1]}})
        own = config.copy()
        parsed = OverridesParser.create().parse_overrides(["lr=1e-3", "model.hidden=[2,3]"])
        ConfigLoaderImpl._apply_overrides_to_config(parsed, config)
        for override in parsed:
            OmegaConf.update(own, override.key_or_group, override.value(), merge=True)
        assert own == config == {"lr": 1e-3, "model": {"hidden": [2, 3]}}


def test_hydra_resolves_its_own_values_from_one_place() -> None:
    with canary(
        "optsweep.cli.composing sets `HydraConfig.instance().cfg`, as `set_config` "
        "does after a copy that takes longer than all else of a job. Without it ${hydra:...} in "
        "conf/ does not resolve in sweeps: call `set_config` then."
    ):
        from hydra.core.hydra_config import HydraConfig
        from hydra.core.utils import setup_globals
        from omegaconf import OmegaConf

        setup_globals()
        instance: Any = HydraConfig.instance()
        kept = instance.cfg
        try:
            instance.cfg = OmegaConf.create({"hydra": {"job": {"name": "canary"}}})
            own = OmegaConf.create({"name": "${hydra:job.name}"})
            assert own.name == "canary"
        finally:
            instance.cfg = kept


def test_hydras_flags_can_be_parsed_without_its_usage() -> None:
    with canary(
        "optsweep.cli.compat.hydra asks Hydra's own parser whether a flag exists, for one "
        "line instead of eight of usage. Without it a mistyped flag is answered by Hydra again."
    ):
        import argparse

        from hydra._internal.utils import get_args_parser

        parser = get_args_parser()
        assert isinstance(parser, argparse.ArgumentParser)
        parser.exit_on_error = False
        assert parser.parse_known_args(["-m", "lr=1", "--lr"])[1] == ["--lr"]
        assert "--multirun" in parser.format_usage()


def test_hydra_saves_a_runs_config_by_one_function() -> None:
    with canary(
        "optsweep.cli.compat.hydra takes the place of `hydra.core.utils._save_config`, so that "
        "Hydra writes no password into `.hydra/`. Without it the passwords of single runs lie "
        "there: set `hydra.output_subdir=null` in conf/config.yaml then."
    ):
        from hydra.core import utils

        assert list(inspect.signature(utils._save_config).parameters) == [
            "cfg",
            "filename",
            "output_dir",
        ]
        assert inspect.getsource(utils).count(" _save_config(") >= 4  # itself, and three calls


def test_omegaconf_quotes_texts_that_look_like_numbers() -> None:
    with canary(
        "optsweep.cli.compat.omegaconf writes texts by `OmegaConfDumper.str_representer`, with "
        "PyYAML's C code: a tenth of the time. Without it '1e-3' could be read back as a number: "
        "write by OmegaConf.to_yaml then."
    ):
        import yaml
        from omegaconf._utils import OmegaConfDumper

        node = OmegaConfDumper.str_representer(yaml.SafeDumper(""), "1e-3")
        assert (node.value, node.style) == ("1e-3", "'")


# MLflow


@pytest.mark.long
def test_a_database_gives_a_metric_of_many_runs_at_once(tmp_path: Path) -> None:
    with canary(
        "optsweep.tracking.history asks `client._tracking_client.store.get_metric_history_bulk` "
        "for the "
        "points of 500 runs at once. Without it each run is asked by itself: a report of 1,000 "
        "runs makes a thousand calls for each metric."
    ):
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
        runs = [client.create_run("0").info.run_id for _ in range(2)]
        for number, run_id in enumerate(runs):
            client.log_metric(run_id, "val/loss", 0.5 + number, step=3)
        rows = client._tracking_client.store.get_metric_history_bulk(runs, "val/loss", 10)
        assert {(row.run_id, row.step, row.value) for row in rows} == {
            (runs[0], 3, 0.5),
            (runs[1], 3, 1.5),
        }


def test_a_server_gives_a_metric_of_many_runs_at_once() -> None:
    with canary(
        "optsweep.tracking.history asks a server at the address of MLflow's own page, with "
        "MLflow's own "
        "credentials. Without it each run is asked by itself: a report of 1,000 runs "
        "makes a thousand calls for each metric."
    ):
        from mlflow.server import app
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request

        from optsweep.tracking.history import _BULK

        assert _BULK in {rule.rule for rule in app.url_map.iter_rules()}
        assert {"host_creds", "endpoint", "method"} <= inspect.signature(
            http_request
        ).parameters.keys()
        credentials = get_default_host_creds("http://localhost:1")  # type: ignore[no-untyped-call]
        assert credentials.host == "http://localhost:1"


def test_artifacts_can_be_deleted_where_they_lie(tmp_path: Path) -> None:
    with canary(
        "optsweep.tracking.store removes a finished run's checkpoint from MLflow by "
        "`get_artifact_repository(...).delete_artifacts`, which no client offers. Without it "
        "checkpoints of Ray's runs stay in the store."
    ):
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        (tmp_path / "checkpoint").mkdir()
        (tmp_path / "checkpoint" / "checkpoint.bin").touch()
        kept: Any = get_artifact_repository(str(tmp_path))
        kept.delete_artifacts("checkpoint")
        assert not (tmp_path / "checkpoint" / "checkpoint.bin").exists()


# Optuna


def test_a_trial_is_continued_by_its_number_in_the_storage() -> None:
    with canary(
        "optsweep.search.pruning reports to a trial that another process began, as "
        "`Trial(study, frozen._trial_id)`: Optuna has no public way. Without it a search with "
        "pruning does not start."
    ):
        import optuna

        study = optuna.create_study(pruner=optuna.pruners.SuccessiveHalvingPruner())
        begun = study.ask()
        frozen = study.get_trials(deepcopy=False)[0]
        optuna.trial.Trial(study, frozen._trial_id).report(0.5, 1)
        assert study.get_trials()[begun.number].intermediate_values == {1: 0.5}


# Python


def test_the_program_can_be_ended_without_taking_its_objects_apart() -> None:
    with canary(
        "optsweep.system.process.leave calls `threading._shutdown` and `atexit._run_exitfuncs`, "
        "as the "
        "interpreter does at its end, and then `os._exit`: 1.5 s less for each start, in which "
        "some 640,000 objects would be taken apart. Without them it has to be sys.exit."
    ):
        code = (
            "import atexit, os, threading, time\n"
            "atexit.register(print, 'registered', flush=True)\n"
            "wait = lambda: (time.sleep(0.2), print('thread', flush=True))\n"
            "threading.Thread(target=wait).start()\n"
            "threading._shutdown(); atexit._run_exitfuncs(); os._exit(3)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert (done.stdout, done.returncode) == (b"thread\nregistered\n", 3)


_PRELOADED = """
import os, threading
server = os.getpid()
in_main_thread = threading.current_thread() is threading.main_thread()
"""
_FORKING = """
import multiprocessing, os, signal, sys, threading
from multiprocessing import connection, forkserver

def answer(pipe):
    import preloaded
    pipe.send((os.getppid(), preloaded.server, preloaded.in_main_thread))
    threading.Event().wait()

def start(context):
    ours, theirs = context.Pipe()
    process = context.Process(target=answer, args=(theirs,), daemon=True)
    process.start()
    parent, server, in_main_thread = ours.recv()
    assert parent == server and in_main_thread, (parent, server, in_main_thread)
    return process, server

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["preloaded"])
    forkserver.ensure_running()
    process, server = start(context)
    os.kill(server, signal.SIGKILL)
    assert connection.wait([process.sentinel], timeout=10)
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
    assert process.exitcode == 255, process.exitcode
    again, other = start(context)
    assert other != server
    again.kill()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends children with their parent")
def test_workers_are_children_of_a_server_that_imports_and_forks_in_its_main_thread(
    tmp_path: Path,
) -> None:
    with canary(
        "optsweep.execution.forkserver and optsweep.execution.local rely on how "
        "multiprocessing's forkserver works: "
        "it imports what it is given and forks its workers, as its own children, in its main "
        "thread; when it is killed, its workers' sentinels fire, their exit code is 255, and the "
        "next worker starts another server. So all processes end within two seconds of a "
        "launcher that is killed, and a sweep outlives its server. Without it workers outlive "
        "their launcher, or are killed at once."
    ):
        (tmp_path / "preloaded.py").write_text(_PRELOADED)
        (tmp_path / "forking.py").write_text(_FORKING)
        command = [sys.executable, str(tmp_path / "forking.py")]
        around = os.environ | {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            command, env=around, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr


# scikit-learn


def test_scikit_learn_has_its_digits_where_they_are_read() -> None:
    with canary(
        "optsweep.data.builtin reads scikit-learn's digits.csv.gz in the installed package, "
        "unimported, which saves the first start in a folder a second. Without it "
        "scikit-learn is imported."
    ):
        from importlib.metadata import distribution

        lies = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
        assert np.loadtxt(str(lies), delimiter=",", dtype=np.uint8).shape == (1797, 65)


# bokeh


def test_bokeh_has_its_programs_where_the_report_reads_them() -> None:
    with canary(
        "optsweep.report.interactive reads bokeh.min.js and bokeh-api.min.js in the installed "
        "package's bokeh/server/static/js, unimported, which saves a fifth of a second. "
        "Without them reports have no charts and are neither sorted nor filtered."
    ):
        from importlib.metadata import files

        names = {file.name: file for file in files("bokeh") or ()}
        for name in ("bokeh.min.js", "bokeh-api.min.js"):
            assert names[name].as_posix() == f"bokeh/server/static/js/{name}"
            assert "Anaconda, Inc., and Bokeh Contributors" in names[name].read_text()[:500]
