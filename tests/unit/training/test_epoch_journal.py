"""A journal is followed while another process writes it."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from optsweep.training.epoch_journal import Entry, Journal, JournalReader

values = st.floats(0, 10) | st.just(math.inf)


@given(
    losses=st.lists(values, min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
def test_points_are_the_same_in_whatever_pieces_they_come(
    losses: list[float], cuts: list[int]
) -> None:
    with TemporaryDirectory() as folder:
        whole, path = Path(folder) / "whole", Path(folder) / "pieces"
        journal = Journal(whole)
        for epoch, loss in enumerate(losses, start=1):
            journal.keep(Entry(epoch, 0, {"train/loss": loss}, {64 * epoch: loss}))
        content, reader = whole.read_bytes(), JournalReader(path)
        reader.look()
        for cut in sorted(cuts):
            path.write_bytes(content[:cut])
            reader.look()
        path.write_bytes(content)
        reader.look()
        assert reader.history == {"train/loss": list(enumerate(losses, start=1))}


def test_a_run_that_is_started_over_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    reader = JournalReader(path)
    for epochs in (3, 1):
        path.unlink(missing_ok=True)
        journal = Journal(path)
        for epoch in range(1, epochs + 1):
            journal.keep(Entry(epoch, 0, {"train/loss": 1.0}))
        reader.look()
        assert reader.history == {"train/loss": [(n, 1.0) for n in range(1, epochs + 1)]}
