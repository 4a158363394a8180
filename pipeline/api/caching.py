"""How much memory a process may keep decoded columns in."""

from __future__ import annotations

from pipeline.archive.decoded_columns import MEMORY
from pipeline.errors import InvalidInputError

__all__ = ["set_cache_size"]


def set_cache_size(size: int) -> int:
    """Set how many bytes this process may keep of decoded columns.

    Columns of blocks that questions, reads and xarray ask for again are kept decoded, whatever
    archives they are of, so that a question over the same hours is answered without decoding.
    By default it is a sixteenth of the memory of the machine, or of the container, at least 256 MiB
    and at most 4 GiB; of a Dask worker that jobs use, no more than a sixteenth of its memory limit.
    Commits drop what they change, and nothing else.

    Parameters
    ----------
    size
        Bytes; 0 keeps none.

    Returns
    -------
    int
        The size before.

    Raises
    ------
    InvalidInputError
        If it is negative.
    """
    if size < 0:
        msg = f"a cache of {size} bytes cannot be; give 0 or more"
        raise InvalidInputError(msg)
    before, MEMORY.limit = MEMORY.limit, size
    return before
