"""The executor of `workers=0`: runs tasks in the calling process, for debuggers."""

from concurrent.futures import Future

from optsweep.errors import StackFailed, TaskFailed
from optsweep.execution.executor import Task
from optsweep.execution.worker import run_task
from optsweep.records.run import RunRecord
from optsweep.system.exceptions import describe


class InProcess:
    """Runs a task where it is submitted, without isolation: for debuggers."""

    workers = 1

    def submit(self, task: Task) -> "Future[list[RunRecord]]":
        """Returns when the task is done."""
        future: Future[list[RunRecord]] = Future()
        try:
            future.set_result(run_task(task))
        except StackFailed as failure:
            future.set_exception(failure)
        except Exception as error:  # one task's failure, as in a process of its own
            future.set_exception(TaskFailed(describe(error)))
        return future

    def start(self) -> None:
        """Nothing waits."""

    def stop(self) -> None:
        """Nothing runs beside the caller."""

    def close(self) -> None:
        """Nothing was started."""
