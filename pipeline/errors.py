"""The whole error tree, drawn once.

Every error that the package raises on purpose descends from `ArchiveError` and carries a
stable, machine-readable ``kind``. The kinds are grouped by what a caller would do about
them: mend the input, pick another name, restore a block, try again, install something.

::

    ArchiveError                     archive
    ├── InvalidInputError            invalid_input       (ValueError)
    │   ├── SchemaError              schema
    │   └── DuplicateRowsError       duplicate_rows
    ├── NotFoundError                not_found           (LookupError)
    ├── AlreadyExistsError           already_exists
    ├── CorruptBlockError            corrupt_block       (ValueError)
    ├── BufferFullError              buffer_full
    ├── ConflictError                conflict
    │   ├── FencedError              fenced
    │   └── LeaseHeldError           lease_held
    ├── StorageError                 storage             (OSError)
    ├── JobError                     job
    └── MissingDependencyError       missing_dependency  (ImportError)
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AlreadyExistsError",
    "ArchiveError",
    "BufferFullError",
    "ConflictError",
    "CorruptBlockError",
    "DuplicateRowsError",
    "FencedError",
    "InvalidInputError",
    "JobError",
    "LeaseHeldError",
    "MissingDependencyError",
    "NotFoundError",
    "SchemaError",
    "StorageError",
]


class ArchiveError(Exception):
    """Root of every error this package raises on purpose."""

    kind: ClassVar[str] = "archive"


class InvalidInputError(ArchiveError, ValueError):
    """An argument, a file or a batch is not what it has to be; the message says how to mend it."""

    kind = "invalid_input"


class SchemaError(InvalidInputError):
    """Data or a definition disagrees with the fleet's schema."""

    kind = "schema"


class DuplicateRowsError(InvalidInputError):
    """Rows repeat a device and time in a fleet whose duplicate policy is ``error``."""

    kind = "duplicate_rows"


class NotFoundError(ArchiveError, LookupError):
    """A named archive, fleet, device, channel, snapshot or connector does not exist."""

    kind = "not_found"


class AlreadyExistsError(ArchiveError):
    """Something with this name exists already and would be overwritten."""

    kind = "already_exists"


class CorruptBlockError(ArchiveError, ValueError):
    """Stored bytes fail their checksum or their structure is impossible."""

    kind = "corrupt_block"


class BufferFullError(ArchiveError):
    """A stream holds as many bytes as it may and was told to raise; nothing was taken, write it again later."""

    kind = "buffer_full"


class ConflictError(ArchiveError):
    """Concurrent writers kept getting in each other's way; nothing was written, try again."""

    kind = "conflict"


class FencedError(ConflictError):
    """Another writer holds the lease that this one wrote under; trying again would not help."""

    kind = "fenced"


class LeaseHeldError(ConflictError):
    """Another writer holds the lease that is asked for; it is free when that one ends or its time is up."""

    kind = "lease_held"


class StorageError(ArchiveError, OSError):
    """The storage below the archive failed (full disk, lost connection, denied access)."""

    kind = "storage"


class JobError(ArchiveError):
    """A job file is wrong, or one of its steps failed."""

    kind = "job"


class MissingDependencyError(ArchiveError, ImportError):
    """An optional library is needed; the message names the extra to install."""

    kind = "missing_dependency"
