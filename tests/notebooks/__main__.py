"""Run notebooks on simulated data and keep what they show: ``python -m tests.notebooks [name ...]``."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.notebooks.running import names, run, slim, write


def main(wanted: list[str]) -> None:
    """Run the notebooks of these names, or all."""
    for name in wanted or names():
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            write(name, slim(run(name, Path(folder))))
        print(f"{name}: {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
