"""What the Slurm executor makes of the answers of Slurm's commands, which are fakes here."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from optsweep.config.launchers import SlurmLaunch
from optsweep.errors import SettingsError
from optsweep.execution.executor import Crashed, Task
from optsweep.execution.slurm.commands import cancel, end_of
from optsweep.execution.slurm.executor import SlurmJobs
from optsweep.execution.slurm.job import _end_when_unwanted
from optsweep.records.run import RunRecord
from support.fake_slurm import FakeSlurm
from support.in_process import job_in

pytest.importorskip("submitit")

Submitted = list["Future[list[RunRecord]]"]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    for name in ("_GLANCE", "_QUESTION", "_GRACE", "_AGAIN"):
        monkeypatch.setattr(f"optsweep.execution.slurm.executor.{name}", 0.05)
    return FakeSlurm(tmp_path, monkeypatch)


@pytest.fixture
def made(slurm: FakeSlurm, tmp_path: Path) -> Iterator[Callable[..., "Sweeping"]]:
    """Makes executors, whose threads end with the test."""
    sweeps: list[Sweeping] = []

    def make(tasks: int = 1, **launch: Any) -> Sweeping:
        sweeps.append(Sweeping(tmp_path, tasks, SlurmLaunch(**launch)))
        return sweeps[-1]

    yield make
    for sweep in sweeps:
        sweep.jobs._closing.set()


class Sweeping:
    """An executor with so many tasks submitted; `said` is what a person was shown."""

    def __init__(self, folder: Path, tasks: int, launch: SlurmLaunch) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.jobs = SlurmJobs(launch, folder, self.said.append)
        self.futures = [self.add() for _ in range(tasks)]
        self.jobs.start()

    def add(self) -> "Future[list[RunRecord]]":
        return self.jobs.submit(Task([job_in(self.folder)], "sqlite:///x", "1", None, "", False))

    @property
    def submissions(self) -> set[str]:
        """The jobs that may run."""
        pickles = (self.folder / "slurm").glob("*_submitted.pkl")
        return {path.name.removesuffix("_submitted.pkl") for path in pickles}


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_settled(sweep: Sweeping, job: str) -> bool:
    return job not in sweep.submissions


@pytest.mark.parametrize(
    ("said", "end"),
    [
        ("JobState=FAILED Reason=None\n   ExitCode=255:0", "ended as failed with exit code 255"),
        ("JobState=FAILED ExitCode=200:0", "ended as failed with exit code 200"),
        ("JobState=FAILED ExitCode=0:40", "was killed by signal 40"),
        ("JobState=FAILED ExitCode=137:0", "was killed by SIGKILL"),
        ("JobState=OUT_OF_MEMORY ExitCode=0:9", "was killed by SIGKILL"),
        ("JobState=NODE_FAIL DerivedExitCode=3:0 ExitCode=(null)", "ended as node fail"),
        ("", "ended as lost"),
    ],
)
def test_a_job_that_left_without_a_result_has_crashed_whatever_its_exit_code(
    slurm: FakeSlurm, made: Callable[..., Sweeping], said: str, end: str
) -> None:
    slurm.ends(said)
    assert end_of("1") == end
    sweep = made()
    slurm.leave("1")
    with pytest.raises(Crashed, match=f"its Slurm job 1 {end}"):
        sweep.futures[0].result(timeout=30)


def test_an_error_of_the_watching_thread_settles_all_that_is_owed_and_what_comes_later(
    slurm: FakeSlurm, made: Callable[..., Sweeping], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = made(2)
    with monkeypatch.context() as broken:
        broken.setattr("optsweep.execution.slurm.executor.queue", lambda: 1 / 0)
        for future in sweep.futures:
            with pytest.raises(Crashed, match="watching over it failed: division by zero"):
                future.result(timeout=30)
    until(lambda: not slurm.jobs)  # no second attempt beside a job that lives
    assert not sweep.submissions
    again = sweep.add()
    sweep.jobs.start()
    slurm.finish(sweep.folder, "2", ("success", []))
    assert again.result(timeout=30) == []


def test_a_scancel_that_hangs_is_waited_for_no_longer_than_a_minute(
    slurm: FakeSlurm, made: Callable[..., Sweeping], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optsweep.execution.slurm.commands._CANCEL", 0.2)
    sweep = made(3)
    slurm.set("hang")
    sweep.jobs.stop()
    assert "cancelling 3 Slurm jobs: 1" in sweep.said
    assert "type scancel 1" in sweep.said[-1]
    assert not sweep.submissions, "its jobs end by themselves"


def test_stopping_while_slurm_is_silent_names_what_to_cancel(
    slurm: FakeSlurm, made: Callable[..., Sweeping], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optsweep.execution.slurm.commands._CONFIRM", 0.2)
    sweep = made(2)
    slurm.set("silent")
    sweep.jobs.stop()
    assert "type scancel 1" in sweep.said[-1]


def test_a_job_launch_that_fails_while_scancel_hangs_settles_its_future(
    slurm: FakeSlurm, made: Callable[..., Sweeping], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optsweep.execution.slurm.commands._CANCEL", 0.2)
    slurm.set("hang")
    sweep = made()
    state = "PENDING launch failed requeued held"
    monkeypatch.setattr("optsweep.execution.slurm.executor.queue", lambda: {"1": state})
    with pytest.raises(Crashed, match="Slurm could not start it"):
        sweep.futures[0].result(timeout=30)


@pytest.mark.long
def test_max_parallel_holds_for_all_jobs_of_a_sweep(
    slurm: FakeSlurm, made: Callable[..., Sweeping], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optsweep.execution.slurm.executor._AT_ONCE", 2)
    sweep = made(7, workers=3)
    most = 0
    while slurm.jobs:
        most = max(most, len(slurm.jobs))
        if len(sweep.futures) == 7:  # two are added later, as a search or an extension does
            sweep.futures += [sweep.add(), sweep.add()]
        job = slurm.jobs[0]
        slurm.finish(sweep.folder, job, ("success", []))
        until(partial(_is_settled, sweep, job))
        sweep.jobs.start()
    assert most == 3
    assert [future.result() for future in sweep.futures] == [[]] * 9
    assert slurm.jobs == []


def test_without_max_parallel_all_is_submitted_in_arrays_that_slurm_takes(
    slurm: FakeSlurm, made: Callable[..., Sweeping], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optsweep.execution.slurm.executor._AT_ONCE", 2)
    made(5)
    assert slurm.jobs == ["1_0", "1_1", "2_0", "2_1", "3"]


def test_a_slurm_that_stays_silent_has_lost_nothing(
    slurm: FakeSlurm, made: Callable[..., Sweeping], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optsweep.execution.slurm.executor._PATIENCE", 0.1)
    sweep = made(2)
    slurm.set("silent")
    until(lambda: sweep.said)
    slurm.finish(sweep.folder, "1_0", ("success", []))
    assert sweep.futures[0].result(timeout=30) == [], "shared storage answers"
    slurm.set("silent", on=False)
    until(lambda: len(sweep.said) == 2)
    assert not sweep.futures[1].done() and sweep.submissions == {"1_1"}
    assert not slurm.cancelled
    assert sweep.said == [
        "Slurm does not answer; its jobs run on, and their results are waited for",
        "Slurm answers again",
    ]


@pytest.mark.parametrize("why", ["silent", "refusal"])
def test_what_slurm_does_not_take_in_the_middle_of_a_sweep_is_submitted_later(
    slurm: FakeSlurm, made: Callable[..., Sweeping], why: str
) -> None:
    sweep = made()
    slurm.set(why)
    later = sweep.add()
    sweep.jobs.start()
    assert not later.done() and slurm.jobs == ["1"]
    slurm.set(why, on=False)
    time.sleep(0.1)  # until it is tried again
    sweep.jobs.start()
    assert slurm.jobs == ["1", "2"]


def test_what_slurm_refuses_at_first_ends_the_sweep_in_the_words_of_sbatch(
    slurm: FakeSlurm, made: Callable[..., Sweeping]
) -> None:
    (slurm.folder / "refusal").write_text("sbatch: error: invalid account\nsecond line\n")
    with pytest.raises(SettingsError, match=r"refuses the jobs \(sbatch: error: invalid account\)"):
        made()


def test_jobs_of_a_launcher_that_was_killed_are_ended_before_the_next_one_submits(
    slurm: FakeSlurm, made: Callable[..., Sweeping], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optsweep.execution.slurm.commands._CONFIRM", 0.2)
    first = made(2)
    first.jobs._closing.set()  # nobody cancels
    slurm.set("silent")
    with pytest.raises(SettingsError, match="may still run; type scancel 1, and start"):
        made()
    slurm.set("silent", on=False)
    second = made(0)
    assert slurm.jobs == [] and not second.submissions


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        ("Traceback (most recent call last):\n  File x\nValueError: odd\n", "ValueError: odd"),
        ("Traceback (most recent call last):\n  File x\nValueError\n", "ValueError"),
        ("", "it gave no reason"),
    ],
)
def test_the_error_of_a_job_is_said_in_its_own_words(
    slurm: FakeSlurm, made: Callable[..., Sweeping], trace: str, said: str
) -> None:
    sweep = made()
    slurm.finish(sweep.folder, "1", ("error", trace))
    with pytest.raises(Crashed) as caught:
        sweep.futures[0].result(timeout=30)
    assert str(caught.value) == said


@pytest.mark.long
def test_a_result_that_cannot_be_read_settles_its_future(
    slurm: FakeSlurm, made: Callable[..., Sweeping]
) -> None:
    sweep = made()
    (sweep.folder / "slurm" / "1_0_result.pkl").write_bytes(b"")  # cut by a power cut
    with pytest.raises(Crashed):
        sweep.futures[0].result(timeout=30)


def test_a_job_asks_slurm_for_what_the_launcher_was_given(
    slurm: FakeSlurm, made: Callable[..., Sweeping]
) -> None:
    made(2, cpus=4, gpus=1, memory=3, time=7)
    for line in ("cpus-per-task=4", "gpus-per-node=1", "mem=3GB", "time=7", "requeue"):
        assert f"#SBATCH --{line}\n" in slurm.scripts
    assert "#SBATCH --array=0-1" in slurm.scripts


@pytest.mark.parametrize("what", ["submission", "sign", "nothing"])
def test_a_job_ends_when_it_is_given_up_or_its_launcher_gives_no_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("optsweep.execution.slurm.job._GLANCE", 0.02)
    monkeypatch.setattr("optsweep.execution.slurm.job._ABANDONED", 0.3 if what == "sign" else 60.0)
    ended = threading.Event()
    monkeypatch.setattr("optsweep.execution.slurm.job.os.kill", lambda process, number: ended.set())
    sign, submission, result = (tmp_path / name for name in ("sign", "submission", "result"))
    sign.touch()
    submission.touch()
    watching = threading.Thread(target=_end_when_unwanted, args=(sign, submission, result))
    watching.daemon = True
    watching.start()
    if what == "submission":
        submission.unlink()
    if what == "nothing":  # its result is there, and its submission of no use any more
        result.touch()
        submission.unlink()
    assert ended.wait(0.5 if what == "nothing" else 30) == (what != "nothing")
    monkeypatch.setattr("optsweep.execution.slurm.job._ABANDONED", 0.0)
    watching.join(30)


def test_nothing_is_raised_where_there_is_no_scancel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cancel(["1"]) == ["1"]
