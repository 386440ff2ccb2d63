"""Exceptions as one line, also those that say nothing."""

from pathlib import Path

import pytest
import torch
from mlflow.exceptions import MlflowException

from optsweep.config.settings import Option
from optsweep.errors import SettingsError, TrackingError
from optsweep.models.build import check_fit
from optsweep.models.losses import _try
from optsweep.system.exceptions import describe, first_line
from optsweep.tracking.errors import explained
from support.in_process import new


class Mute(Exception):
    """An exception that cannot even be asked."""

    def __str__(self) -> str:
        raise AttributeError("it was never given a message")


@pytest.mark.parametrize(
    ("error", "line", "described"),
    [
        (ValueError("first\nsecond"), "first", "ValueError: first"),
        (ValueError("\n  first \nsecond"), "first", "ValueError: first"),
        (ValueError(), "ValueError", "ValueError"),
        (ValueError(" \n"), "ValueError", "ValueError"),
        (Mute(), "Mute", "Mute"),
    ],
)
def test_an_exception_is_one_line(error: Exception, line: str, described: str) -> None:
    assert first_line(error) == line
    assert describe(error) == described


def test_a_store_that_fails_without_a_word_is_named() -> None:
    with (
        pytest.raises(TrackingError, match="failed: MlflowException"),
        explained("sqlite:///mlflow.db"),
    ):
        raise MlflowException("")


class Silent(torch.nn.Module):
    """A model that refuses everything without saying why."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise ValueError


def silent_loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    raise ValueError


def test_a_model_and_a_loss_that_fail_without_a_word_are_named(project: Path) -> None:
    settings = new(project).settings
    with pytest.raises(SettingsError, match=r"digits's images .* \(ValueError, in .*test_err"):
        check_fit(Silent(), settings, (1, 8, 8), 10)
    option = Option("mute", "silent.loss", {})
    with pytest.raises(SettingsError, match=r"silent.loss fails \(ValueError, in .*test_errors"):
        _try(silent_loss, option, 10)
