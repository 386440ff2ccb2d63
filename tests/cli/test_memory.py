"""Memory that really runs out, in processes whose address space is bounded."""

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from optsweep.config.launchers import Launch
from optsweep.errors import SettingsError
from optsweep.training.device import ran_out_of_memory
from support.in_process import sweep_here

LARGE = '''
import multiprocessing
import resource
from pathlib import Path

import torch

class Large(torch.nn.Module):
    """Softmax regression with 32 MB of ballast, in worker processes with space for so much more."""

    def __init__(self, input_shape, classes, space):
        super().__init__()
        if multiprocessing.parent_process():
            leave(space)
        self.linear = torch.nn.Linear(64, classes)
        self.ballast = torch.nn.Parameter(torch.zeros(2**23))

    def forward(self, images):
        return self.linear(images.flatten(1)) + 0 * self.ballast[0]

def leave(space, left=[]):
    if not left:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        left.append(pages * resource.getpagesize() + space * 2**20)
        resource.setrlimit(resource.RLIMIT_AS, (left[0], -1))
'''


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux says what is taken")
@pytest.mark.parametrize(
    "space",
    [
        pytest.param(650, id="while the stack is built"),
        pytest.param(250, id="while its models are built"),
    ],
)
def test_a_stack_for_which_memory_runs_out_is_halved_until_it_does(
    space: int, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "large.py").write_text(LARGE)
    (project / "conf/model/large.yaml").write_text("_target_: large.Large\nspace: 0\n")
    monkeypatch.syspath_prepend(str(project))
    # Each thread that allocates would otherwise take 64 MB of address space at once.
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    console = Console(file=io.StringIO(), width=200)
    sweep = ("model=large", f"model.space={space}", "seed=0,1,2,3,4,5,6,7", "epochs=1")
    record = sweep_here(project, *sweep, launch=Launch(workers=1, stack=8), console=console)
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "a stack of 8 runs continues in stacks of 4: " in said, said
    assert "DefaultCPUAllocator: can't allocate memory" in said
    assert {run.status for run in record.runs} == {"FINISHED"}
    assert {run.stack for run in record.runs} <= {1, 2, 4}


def test_what_running_out_of_memory_looks_like() -> None:
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(2**60, dtype=torch.uint8)
    with pytest.raises(MemoryError) as of_python:
        bytearray(2**60)
    wrapped = SettingsError("model=large: can't")
    wrapped.__cause__ = of_torch.value
    for error in (
        of_torch.value,
        of_python.value,
        wrapped,
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        OSError(12, "Cannot allocate memory"),
    ):
        assert ran_out_of_memory(error), error
    for other in (RuntimeError("it broke"), OSError(28, "No space left on device"), ValueError()):
        assert not ran_out_of_memory(other)
