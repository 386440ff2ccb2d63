"""The command `optsweep`: one run or a sweep, or one of the sub-commands.

It does in the current folder what the scripts of `experiments/` do in a clone. Workers import this
module too, as they do any main script, so that nothing is imported before it is needed.
"""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Does what the command line says, and ends the process with its exit code."""
    from optsweep.execution.command_line import end_with_caller
    from optsweep.system import process
    from optsweep.system import project_folder as project

    project.use_installed()
    end_with_caller()
    process.leave(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["predict"]:
        from optsweep.cli.commands import predict

        return predict.main(arguments[1:])
    if arguments[:1] == ["report"]:
        from optsweep.cli.commands import report

        return report.main(arguments[1:])
    if arguments[:1] == ["sync"]:
        from optsweep.cli.commands import sync

        return sync.main(arguments[1:])
    if arguments[:1] == ["verdict"]:
        from optsweep.cli.commands import verdict

        return verdict.main(arguments[1:])
    from optsweep.execution.forkserver import start_early

    start_early(arguments)
    from optsweep.cli.main import main as run

    return run()


if __name__ == "__main__":
    main()
