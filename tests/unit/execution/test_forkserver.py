"""Which command lines start the server of workers before Hydra is imported."""

import pytest

from optsweep.execution import forkserver


@pytest.mark.parametrize(
    ("typed", "early"),
    [
        ("-m optimizer=sgd,adam lr=1e-3,1e-1", True),
        ("--multirun lr=1e-3,1e-1 hydra.launcher.stack=1", True),
        ("lr=1e-3", False),
        ("-m lr=1e-3,1e-1 --cfg job", False),
        ("-m dataset=fashion_mnist", False),  # which needs torchvision too
        ("-m preset=fashion_mlp", False),
        ("-m lr=1e-3,1e-1 hydra/launcher=slurm", False),
        ("-m lr=1e-3,1e-1 hydra.launcher.workers=0", False),
        ("-m lr=1e-3,1e-1 plan=true", False),
        ("-m lr=1e-3,1e-1 check=true", False),
    ],
)
def test_a_sweep_of_the_usual_kind_has_its_server_early(
    typed: str, early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(forkserver, "start_server", lambda *modules: started.append("server"))
    monkeypatch.setattr(forkserver, "cores", lambda: 2)
    forkserver.start_early(typed.split())
    assert bool(started) is early
    monkeypatch.setattr(forkserver, "cores", lambda: 1)  # which it would take from Hydra
    forkserver.start_early(typed.split())
    assert len(started) == early
