"""Where the ticks of an axis of accuracies are."""

from matplotlib.ticker import MaxNLocator


class AccuracyLocator(MaxNLocator):
    """Ticks below 0 or above 1 are left out, where there is no accuracy."""

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """The ticks between two ends of the axis."""
        return [tick for tick in super().tick_values(vmin, vmax) if -1e-9 < tick < 1 + 1e-9]
