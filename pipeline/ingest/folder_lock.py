"""One session at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pipeline.errors import ConflictError, StorageError

__all__ = ["FolderLock", "translated"]

_NAME: Final = "session.lock"


@dataclass(slots=True)
class FolderLock:
    """An exclusive lock on a folder, which ends with the process at the latest.

    Parameters
    ----------
    folder
        What is locked.
    handle
        Descriptor of the lock file; negative once it is released.
    """

    folder: Path
    handle: int

    @classmethod
    def take(cls, folder: Path) -> Self:
        """Make the folder if there is none, and lock it.

        Raises
        ------
        ConflictError
            If another session holds it.
        StorageError
            If the folder cannot be made or written.
        """
        with translated(folder):
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder / _NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            msg = (
                f"{folder}: another stream session uses this folder; end it, or use another folder"
            )
            raise ConflictError(msg) from error
        return cls(folder, handle)

    def release(self) -> None:
        """Let others have the folder."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise errors of the operating system as `StorageError`, with `path` named."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        msg = f"{path}: {error.strerror or error}"
        raise StorageError(msg) from error
