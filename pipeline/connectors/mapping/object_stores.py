"""File systems of object stores, by the options that an archive on them takes too.

Arrow's own file systems are used: they come with pyarrow, so ``s3://``, ``gs://`` and ``az://``
need nothing to be installed.

References
----------
Apache Arrow, filesystem interface, https://arrow.apache.org/docs/python/filesystems.html
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from pipeline.errors import InvalidInputError

__all__ = ["connect", "is_object_store"]

_SCHEMES: Final = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "abfs": "az",
    "azure": "az",
}

_PLAIN: Final = {
    "s3": {
        "region": "region",
        "access_key_id": "access_key",
        "secret_access_key": "secret_key",
        "session_token": "session_token",
        "anonymous": "anonymous",
        "role_arn": "role_arn",
        "connect_timeout": "connect_timeout",
        "request_timeout": "request_timeout",
    },
    "gs": {
        "anonymous": "anonymous",
        "project_id": "project_id",
        "target_service_account": "target_service_account",
    },
    "az": {
        "account": "account_name",
        "account_name": "account_name",
        "access_key": "account_key",
        "account_key": "account_key",
        "sas_token": "sas_token",
        "tenant_id": "tenant_id",
        "client_id": "client_id",
        "client_secret": "client_secret",
    },
}
"""Options that mean the same in Arrow under another name, by scheme."""

_KNOWN: Final = {
    "s3": {*_PLAIN["s3"], "endpoint_url", "force_path_style", "allow_http", "from_env"},
    "gs": {*_PLAIN["gs"], "endpoint_url", "from_env"},
    "az": {*_PLAIN["az"], "endpoint_url", "from_env"},
}


def is_object_store(url: str) -> bool:
    """Tell whether a URL names an object of a store that `connect` reaches."""
    return "://" in url and url.partition("://")[0] in _SCHEMES


def connect(url: str, options: Mapping[str, Any]) -> tuple[pafs.FileSystem, str]:
    """Return the file system of an object store, and the path of a URL in it.

    Parameters
    ----------
    url
        ``s3://bucket/key``, ``gs://bucket/key`` or ``az://container/key``.
    options
        ``endpoint_url``, credentials and the like, by the names that an archive's
        ``storage_options`` have; without credentials the environment's are used.

    Raises
    ------
    InvalidInputError
        If an option is unknown or wrong, or the URL names no bucket.
    """
    scheme, _, path = url.partition("://")
    path = path.strip("/")
    if not path:
        msg = f"{url!r}: give a bucket and a key, {scheme}://bucket/key"
        raise InvalidInputError(msg)
    known = _KNOWN[_SCHEMES[scheme]]
    unknown = sorted(set(options) - known)
    if unknown:
        msg = f"{url!r}: unknown storage options {unknown}; known are {sorted(known)}"
        raise InvalidInputError(msg)
    try:
        return _system(_SCHEMES[scheme], json.dumps(dict(options), sort_keys=True)), path
    except (TypeError, ValueError, pa.ArrowException) as error:
        msg = f"{url!r}: the storage options do not fit: {error}"
        raise InvalidInputError(msg) from error


@lru_cache(maxsize=64)
def _system(scheme: str, options: str) -> pafs.FileSystem:
    told: dict[str, Any] = json.loads(options)
    names = _PLAIN[scheme]
    plain = {names[key]: value for key, value in told.items() if key in names}
    make: dict[str, Callable[..., pafs.FileSystem]] = {"s3": _s3, "gs": _gs, "az": _az}
    return make[scheme](plain, told)


def _endpoint(told: Mapping[str, Any]) -> tuple[str, str]:
    """Return the scheme and the authority of the endpoint; empty if none is told."""
    parts = urlsplit(told.get("endpoint_url", ""))
    return parts.scheme, parts.netloc


def _s3(plain: dict[str, Any], told: Mapping[str, Any]) -> pafs.FileSystem:
    scheme, authority = _endpoint(told)
    if authority:
        plain |= {"scheme": scheme, "endpoint_override": authority}
        # Arrow takes path style wherever an endpoint is told, unless it is told otherwise.
        plain["force_virtual_addressing"] = told.get("force_path_style") is False
    return pafs.S3FileSystem(**plain)


def _gs(plain: dict[str, Any], told: Mapping[str, Any]) -> pafs.FileSystem:
    scheme, authority = _endpoint(told)
    if authority:
        plain |= {"scheme": scheme, "endpoint_override": authority}
    return pafs.GcsFileSystem(**plain)


def _az(plain: dict[str, Any], told: Mapping[str, Any]) -> pafs.FileSystem:
    scheme, authority = _endpoint(told)
    if authority:
        plain |= {"blob_storage_scheme": scheme, "blob_storage_authority": authority}
    account = plain.pop("account_name", os.environ.get("AZURE_STORAGE_ACCOUNT_NAME"))
    if not account:
        msg = "give the storage account in the option 'account'"
        raise ValueError(msg)
    return pafs.AzureFileSystem(account, **plain)
