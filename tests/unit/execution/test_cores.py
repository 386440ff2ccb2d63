"""How many cores a process may use: its affinity, and the quotas of its cgroups."""

import os
from pathlib import Path

import pytest

from optsweep.config.launchers import Launch
from optsweep.execution.worker_count import count_workers
from optsweep.system.cores import cores
from support.in_process import new


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a machine whose process may run on eight cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda number: set(range(8)))
    return tmp_path


def write(machine: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = machine / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def quota(text: str) -> dict[str, str]:
    return {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": text}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),  # a second worker finds half a core
        ("240000 100000\n", 2),
        ("30000 100000\n", 1),
        ("1600000 100000\n", 8),  # more than there are
        ("", 8),
        ("nonsense\n", 8),
    ],
)
def test_a_container_of_version_2(machine: Path, text: str, expected: int) -> None:
    write(machine, quota(text))
    assert cores(machine) == expected


def test_the_quota_of_an_outer_group_counts(machine: Path) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "0::/user.slice/job\n",
            "sys/fs/cgroup/user.slice/job/cpu.max": "max 100000\n",
            "sys/fs/cgroup/user.slice/cpu.max": "300000 100000\n",
        },
    )
    assert cores(machine) == 3


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_version_1(machine: Path, mount: str) -> None:
    group = f"sys/fs/cgroup/{mount}/docker/1f"
    write(
        machine,
        {
            "proc/self/cgroup": "5:memory:/docker/1f\n4:cpu,cpuacct:/docker/1f\n0::/\n",
            f"{group}/cpu.cfs_quota_us": "200000\n",
            f"{group}/cpu.cfs_period_us": "100000\n",
        },
    )
    assert cores(machine) == 2
    write(machine, {f"{group}/cpu.cfs_quota_us": "-1\n"})
    assert cores(machine) == 8


def test_in_a_container_of_version_1_the_path_may_be_the_hosts(machine: Path) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "4:cpu,cpuacct:/docker/1f\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    assert cores(machine) == 1


def test_without_cgroups_all_cores_count(machine: Path) -> None:
    assert cores(machine) == 8


def test_workers_are_counted_by_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optsweep.execution.worker_count.cores", lambda: 3)
    assert count_workers(Launch(), new(project).settings, 100) == 3
