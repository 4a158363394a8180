"""Run a benchmark: ``python -m tests.benchmarks NAME [--quick] [--json FILE]``."""

from __future__ import annotations

import sys

from tests.benchmarks.command import main

if __name__ == "__main__":
    sys.exit(main())
