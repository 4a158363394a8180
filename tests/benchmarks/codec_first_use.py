"""A fresh process's first blocks of every kind: prints the seconds they took.

``python -m tests.benchmarks.codec_first_use`` is run by `codec_startup` with a cache of compiled
code of its own. It encodes and decodes one block of every synthetic column.
"""

from __future__ import annotations

import time

from tests.benchmarks.codec_columns_synthetic import synthetic_columns
from tests.benchmarks.codec_sides import OURS

__all__ = ["main"]

_ROWS = 8192


def main() -> None:
    """Encode and decode one block of every kind; print the seconds."""
    blocks = [block for column in synthetic_columns(_ROWS) for block in column.blocks(_ROWS)]
    began = time.perf_counter()
    for block in blocks:
        OURS.decode(OURS.encode(block))
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
