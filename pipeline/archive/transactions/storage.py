"""Opening the storage library on a folder, in memory, or on an object store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import icechunk as ic

from pipeline.archive.locations import Location
from pipeline.errors import AlreadyExistsError, InvalidInputError, StorageError

__all__ = ["BRANCH", "configuration", "local_root", "make_root", "open_storage"]

BRANCH: Final = "main"
"""The one branch that an archive's history is on."""

# Extent of one manifest along the window axis. Fewer windows make commits cheaper, but their
# number is fixed work: 82,000 extents of hours cost 70 ms a commit, 3,500 cost 4 ms.
# Names are patterns: without the anchors those of days are taken for hours too.
_MANIFEST_SPLIT: Final = {"^window$": 32, "^hour_window$": 768}

_LARGEST_REQUEST: Final = 1 << 30

_CREDENTIALS: Final = (
    "access_key_id",
    "access_key",
    "anonymous",
    "application_credentials",
    "bearer_token",
    "from_env",
    "get_credentials",
    "sas_token",
    "service_account_file",
    "service_account_key",
)


def local_root(location: Location) -> Path | None:
    """Return the folder of a local archive; None for others."""
    return Path(location.path) if location.scheme == "file" else None


def make_root(root: Path) -> None:
    """Make the folder of a new archive.

    Raises
    ------
    AlreadyExistsError
        If it holds something else.
    StorageError
        If it cannot be made.
    """
    if (root / "refs").is_dir():
        return
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        msg = f"{root}: not an empty folder; name a new or an empty one"
        raise AlreadyExistsError(msg)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{root}: cannot be created: {error.strerror}"
        raise StorageError(msg) from error


@cache
def _hush() -> None:
    # It warns that local folders are not safe for concurrent commits: here they are, by our lock.
    if "ICECHUNK_LOG" not in os.environ:
        ic.set_logs_filter("error")


def open_storage(location: Location, options: Mapping[str, Any] | None) -> ic.Storage:
    """Return the library's handle on a place.

    Raises
    ------
    InvalidInputError
        If the options do not fit.
    """
    _hush()
    options = dict(options or {})
    if location.scheme == "file":
        return ic.local_filesystem_storage(location.path)
    if location.scheme == "memory":
        return ic.in_memory_storage()
    if not any(key in options for key in _CREDENTIALS):
        options["from_env"] = True
    try:
        if location.scheme == "s3":
            return ic.s3_storage(bucket=location.bucket, prefix=location.path, **options)
        if location.scheme == "gs":
            return ic.gcs_storage(bucket=location.bucket, prefix=location.path, **options)
        return ic.azure_storage(container=location.bucket, prefix=location.path, **options)
    except TypeError as error:
        msg = f"{location}: storage options do not fit: {error}"
        raise InvalidInputError(msg) from error


def configuration(location: Location, storage: ic.Storage) -> ic.RepositoryConfig:
    """Return how manifests are cut, what a handle remembers, and how objects are read.

    Parameters
    ----------
    location
        Of the archive.
    storage
        The library's handle on it.
    """
    config = ic.RepositoryConfig.default()
    if location.scheme == "file":
        config.storage = _whole_objects(storage.default_settings())
    elif location.scheme != "memory":
        config.storage = _as_in_a_bucket()
    splits: dict[Any, int] = {
        ic.ManifestSplitDimCondition.DimensionName(name): extent
        for name, extent in _MANIFEST_SPLIT.items()
    }
    # What a handle remembers. Manifests hold small chunks themselves, and every commit makes a new
    # one: by the library's own bounds a writer held 4 GB after 8,000 commits.
    config.caching = ic.CachingConfig(
        num_snapshot_nodes=5_000, num_chunk_refs=500_000, num_transaction_changes=10_000
    )
    config.manifest = ic.ManifestConfig(
        # Preloading manifests made the first write of a fresh session up to 430 ms slower.
        preload=ic.ManifestPreloadConfig(max_total_refs=0),
        splitting=ic.ManifestSplittingConfig.from_dict(
            {ic.ManifestSplitCondition.AnyArray(): splits}
        ),
    )
    return config


def _whole_objects(settings: ic.StorageSettings) -> ic.StorageSettings:
    # By default a file is read in up to 5 requests of 4 KiB, which open it once each and wake a
    # thread each: 822 chunks of 24 kB took 240 ms, in one request each 110 ms.
    settings.concurrency = ic.StorageConcurrencySettings(
        max_concurrent_requests_for_object=1, ideal_concurrent_request_size=_LARGEST_REQUEST
    )
    return settings


def _as_in_a_bucket() -> ic.StorageSettings:
    # The library's defaults for object stores, spelled out: an archive that was a folder and was
    # copied into a bucket brings along, in its configuration, commits that do not look at the tip,
    # and requests that are tried once.
    return ic.StorageSettings(
        concurrency=ic.StorageConcurrencySettings(
            max_concurrent_requests_for_object=18, ideal_concurrent_request_size=12 << 20
        ),
        retries=ic.StorageRetriesSettings(
            max_tries=10, initial_backoff_ms=100, max_backoff_ms=180_000
        ),
        unsafe_use_conditional_create=True,
        unsafe_use_conditional_update=True,
        unsafe_use_metadata=True,
    )
