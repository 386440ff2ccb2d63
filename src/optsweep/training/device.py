"""The device, threads, memory and precision of a run.

`resolve_device` decides what `device=auto` means, `computing` prepares this process for a run's
settings, and `ran_out_of_memory` says whether an error means that a device's memory is full.
"""

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from optsweep.config.settings import Settings
from optsweep.errors import SettingsError

# Options of glibc's mallopt, as its <malloc.h> numbers them.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# What torch, its CUDA libraries and the C library say; these differ by their messages alone.
_NO_MEMORY = re.compile(
    "can't allocate memory|Cannot allocate memory|out of memory|bad_alloc|STATUS_ALLOC_FAILED"
)


def resolve_device(name: str) -> str:
    """`auto` -> the fastest device there is; any other name is checked and given back.

    Raises:
        SettingsError: this machine has no such device.
    """
    devices = available()
    if name == "auto":
        return "cuda" if "cuda" in devices else "mps" if "mps" in devices else "cpu"
    if name not in devices:
        there = f"this machine has {', '.join(devices)}"
        instead = "type device=auto, which takes the fastest there is"
        raise SettingsError(f"device={name}: {there}; {instead}")
    return name


def available() -> list[str]:
    """The names of this machine's devices, such as ["cpu", "cuda", "cuda:0"]."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cuda = ["cuda", *(f"cuda:{index}" for index in range(count))] if count else []
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]


def check_precision(settings: Settings) -> None:
    """Refuses a precision that the device does not have.

    Raises:
        SettingsError: TF32 was asked for away from CUDA.
    """
    if settings.precision == "tf32" and not settings.device.startswith("cuda"):
        raise SettingsError(
            f"precision=tf32 is NVIDIA's; device={settings.device} has fp32 and bf16: "
            "type precision=fp32"
        )


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or one that it was raised from, says that memory has run out.

    On a CPU torch raises a `RuntimeError` of its allocator's, Python and numpy a `MemoryError`.
    """
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            return True
        if isinstance(error, RuntimeError | OSError) and _NO_MEMORY.search(str(error)):
            return True
        error = error.__cause__
    return False


def _keep_memory() -> None:
    """Has the C library keep what is freed, for the next step, not give it back to the system.

    A step frees and takes anew some megabytes of activations and gradients. By itself glibc gives
    back what is at the end of its heap, and takes larger pieces from the system each time. A page
    of 4 KB then costs 2.5 us on a virtual machine: 2,000 pages and a quarter of a step of the cnn
    at batch 64. Pieces above 32 MB, such as large weights, are given back as before.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:  # which is glibc's
        set_option(_M_TRIM_THRESHOLD, -1)
        set_option(_M_MMAP_THRESHOLD, 2**25)


@contextmanager
def computing(settings: Settings) -> Iterator[torch.device]:
    """Sets the threads, precision and determinism of a run, and puts them back after it."""
    threads = torch.get_num_threads()
    matmul = torch.get_float32_matmul_precision()
    cudnn = torch.backends.cudnn
    cudnn_before = (cudnn.deterministic, cudnn.allow_tf32)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    if settings.device == "cpu":
        _keep_memory()
    torch.set_float32_matmul_precision("high" if settings.precision == "tf32" else "highest")
    cudnn.deterministic, cudnn.allow_tf32 = True, settings.precision == "tf32"
    try:
        yield torch.device(settings.device)
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(matmul)
        cudnn.deterministic, cudnn.allow_tf32 = cudnn_before


def run_in_bfloat16(model: nn.Module, device: torch.device) -> None:
    """Makes the model's forward pass compute in bfloat16 and give float32 outputs.

    Autocast is entered at each forward pass, not once around the training: it keeps the weights
    that it cast until it is left, and would keep using those of the first step.
    """
    forward = torch.autocast(device.type, torch.bfloat16)(model.forward)
    model.forward = lambda images: forward(images).float()
