"""What one epoch gave, and what is logged of it."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave. Tensors lie on the CPU; `[K]` holds a value for each run.

    `metrics` maps names such as "train/loss" to float64 `[K]`: training values are means over
    the epoch's samples while the weights moved, validation and test values are taken after it.
    `batch_losses` float32 `[points, K]` are single batches' losses, each after as many samples
    as `samples_seen` says. `diverged` bool `[K]` marks runs with a NaN or infinite loss, now or
    in an earlier epoch; `evaluated` those whose weights were worth evaluating.
    `seconds` is a run's share of the time of training and evaluation, `samples_per_second` what
    all runs saw in a second of training.
    """

    number: int
    metrics: dict[str, Tensor]
    batch_losses: Tensor
    samples_seen: list[int]
    diverged: Tensor
    evaluated: Tensor
    seconds: float
    samples_per_second: float

    def scores(self, run: int) -> dict[str, float]:
        """One run's metrics: those of training alone where it diverged while it trained."""
        return {
            name: values[run].item()
            for name, values in self.metrics.items()
            if self.evaluated[run] or name.startswith("train/")
        }

    def logged(self, run: int) -> dict[str, float]:
        """What is logged of one run: its scores, and how fast it was."""
        speed = {"epoch_seconds": self.seconds, "samples_per_second": self.samples_per_second}
        return self.scores(run) | speed

    def logged_batches(self, run: int) -> dict[int, float]:
        """One run's losses of single batches, by the samples that it had seen."""
        return dict(zip(self.samples_seen, self.batch_losses[:, run].tolist(), strict=True))
