"""Whether the tracking store can be reached.

A `Connection` is given a probe of the store and says whether a call is worth a try. While the store
is away, a thread repeats the probe.
"""

import threading
from collections.abc import Callable
from contextlib import suppress


class Connection:
    """Whether a store can be reached, found out in the background while the work continues.

    Code that fails to send calls `lost`. A thread then tries `probe` until it succeeds, so nobody
    else waits for a store that is away.
    """

    _FIRST, _LONGEST = 1.0, 30.0  # seconds between two tries

    def __init__(self, probe: Callable[[], None]) -> None:
        self._probe = probe
        self._lost = threading.Event()
        self._pause = self._FIRST

    @property
    def up(self) -> bool:
        """Whether sending is worth a try."""
        return not self._lost.is_set()

    def ask(self) -> bool:
        """Whether the store can be reached, asked of it now where it was away."""
        if not self.up:
            with suppress(Exception):
                self._probe()
                self._lost.clear()
        return self.up

    def lost(self) -> None:
        """The store did not take what it was sent."""
        if self.up:
            self._lost.set()
            threading.Thread(target=self._try_until_found, daemon=True).start()

    def found(self) -> None:
        """The store took what it was sent."""
        self._pause = self._FIRST

    def _try_until_found(self) -> None:
        wait = threading.Event().wait
        while True:
            wait(self._pause)
            # Longer each time, also for a store that answers but takes nothing.
            self._pause = min(2 * self._pause, self._LONGEST)
            with suppress(Exception):  # whatever answers there, this thread tries again
                self._probe()
                self._lost.clear()
                return
