"""``python -m pipeline``: run a job file."""

from __future__ import annotations

import sys

from pipeline.jobs.command import main

if __name__ == "__main__":
    sys.exit(main())
