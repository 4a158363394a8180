"""How a stream goes on where its log and the archive say."""

from __future__ import annotations

from pipeline.errors import InvalidInputError
from pipeline.ingest.log import WriteAheadLog
from pipeline.ingest.state import StreamState
from pipeline.ingest.watermarks import Watermarks
from pipeline.model.arrow_arrays import raw_values

__all__ = ["resume"]


def resume(state: StreamState, log: WriteAheadLog, watermarks: Watermarks, committed: int) -> None:
    """Have the entries of a log that are not in the archive committed, and know their times.

    Parameters
    ----------
    state
        Of a session that has not begun.
    log
        Its log.
    watermarks
        By what is in the archive; moved on by what is in the log.
    committed
        The number of the last entry that is in the archive.

    Raises
    ------
    InvalidInputError
        If the log is of another archive, or of a later state of it.
    CorruptBlockError, StorageError
        If it cannot be read.
    """
    first = log.segments[0].first if log.segments else 1
    if first > committed + 1 and log.last >= first:
        msg = (
            f"{log.folder}: the log begins at entry {first}, but the archive has entries up to "
            f"{committed} only: it is of another archive, or of an older state of it; move "
            "the folder away, or open the archive it belongs to"
        )
        raise InvalidInputError(msg)
    found, state.core.committed = log.last, committed
    log.begin(committed)
    state.last = log.last
    state.count(torn_bytes=log.torn_bytes)
    if found <= committed:
        return
    # As if these had been spilled: they are read back as there is room.
    state.core.spilled(committed + 1, found)
    for entry in log.entries(committed, found):
        rows = entry.rows
        state.count(replayed=rows.num_rows)
        if rows.num_rows:
            codes = watermarks.codes_of(rows.column(0).to_pylist())
            watermarks.passed(codes, raw_values(rows.column(1)))
