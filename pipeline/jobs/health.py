"""What a long-running step tells of itself in a JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.errors import JobError

__all__ = ["HealthFile"]


@dataclass(frozen=True, slots=True)
class HealthFile:
    """A JSON file that tells how a process is; readers see the old one or the new one.

    Parameters
    ----------
    path
        The file; None for none.
    """

    path: Path | None

    def write(self, state: str, streams: Mapping[str, Any], errors: Mapping[str, str]) -> None:
        """Replace the file.

        Raises
        ------
        JobError
            If it cannot be written.
        """
        if self.path is None:
            return
        told = {
            "state": state,
            "time": datetime.now(UTC).isoformat(),
            "pid": os.getpid(),
            "errors": dict(errors),
            "streams": dict(streams),
        }
        new = self.path.with_name(f"{self.path.name}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
            new.replace(self.path)
        except OSError as error:
            msg = f"health file {self.path}: cannot be written: {error.strerror or error}"
            raise JobError(msg) from error
