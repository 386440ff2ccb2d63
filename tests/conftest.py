"""What the tests share: a project of their own, the real command in a real process, real data."""

import gc
import os
import shutil
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from optsweep.system.cores import few_threads
from support.browser import chromium
from support.command import copy_project
from support.forked import fork_commands

# A thread for each of the processes that test side by side: threads of one that wait for others,
# spinning, take the core from those they wait for. Before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Commands started with & by a script ignore Ctrl-C, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What tests import is a million objects, none of which becomes garbage. To look through them as
# often as Python does takes a third of the time of collecting tests, and a tenth of running them.
gc.set_threshold(10_000, 20, 50)

# What skips for want of a program, a package, data or a right fails with this option; `.ci/run`
# gives it. A CUDA device alone may be missing.
NO_SKIPS = "--no-skips"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(NO_SKIPS, action="store_true", help="fail what is skipped, CUDA's tests aside")


def pytest_configure(config: pytest.Config) -> None:
    if "long" in config.option.markexpr:
        fork_commands()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`: one more than there are cores, as tests often wait for other processes."""
    return (os.cpu_count() or 1) + 1


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, Any]:
    report = yield
    if not item.get_closest_marker("cuda"):
        _fail_if_skipped(report, item.config)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, Any]:
    report = yield
    _fail_if_skipped(report, collector.config)
    return report


def _fail_if_skipped(
    report: pytest.TestReport | pytest.CollectReport, config: pytest.Config
) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and config.getoption(NO_SKIPS):
        report.outcome = "failed"
        report.longrepr = f"skipped, which {NO_SKIPS} forbids: {report.longrepr}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of conf/ and experiments/: what the command writes there is this test's alone."""
    return copy_project(tmp_path / "project")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Has torch compute with one thread, as a sweep's workers do."""
    with few_threads():
        yield


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium that logs its requests and its console."""
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="session")
def fashion_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `data_dir` of this session holding Fashion-MNIST as downloaded: four .gz files."""
    given = os.environ.get("OPTSWEEP_DATA")
    if not given:
        pytest.skip("OPTSWEEP_DATA does not name a folder that holds FashionMNIST/raw/*.gz")
    files = sorted(Path(given, "FashionMNIST", "raw").glob("*.gz"))
    if len(files) != 4:
        pytest.skip(f"OPTSWEEP_DATA={given} does not hold the four files of FashionMNIST/raw/*.gz")
    data_dir = tmp_path_factory.mktemp("data")
    raw = data_dir / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in files:
        shutil.copy(file, raw)
    return data_dir
