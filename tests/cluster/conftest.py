"""What every cluster has to equal: a sweep and a search on this machine, done once."""

from pathlib import Path

import pytest

from support.executors import project_with, searched, swept


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in which the sweep was done."""
    project = project_with(tmp_path_factory.mktemp("local"))
    code, output = swept(project)
    assert code == 1, output
    return project


@pytest.fixture(scope="session")
def found_locally(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The search's table."""
    return searched(project_with(tmp_path_factory.mktemp("search")), "hydra.launcher.workers=2")
