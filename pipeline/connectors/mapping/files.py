"""Finding and opening the files of a source: local, on object stores, or wherever fsspec reads.

A file is found together with what tells its content from a later one's, so that an import can
say which content it has.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import fsspec
import pyarrow.fs as pafs
from fsspec.spec import glob_translate

from pipeline.connectors.mapping.compression import unpack
from pipeline.connectors.mapping.object_stores import connect, is_object_store
from pipeline.errors import InvalidInputError, NotFoundError, StorageError

__all__ = ["FoundFile", "Options", "find_files", "list_files", "open_file", "open_packed"]

Options = Mapping[str, Any]
_NONE: Final[Options] = {}
_MAGIC: Final = re.compile(r"[*?\[]")
_ASKING: Final = 16  # objects whose state is asked for at once


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of a source.

    Parameters
    ----------
    path
        A local path or a URL.
    size
        Bytes, as stored.
    state
        Another one if the content changes: size and time of change of a local file, size and
        entity tag of an object.
    """

    path: str
    size: int
    state: str


def find_files(path: str | os.PathLike[str], options: Options = _NONE) -> tuple[str, ...]:
    """Return the files of a path, a URL or a glob pattern, sorted by name.

    Parameters
    ----------
    path
        A file; a folder, of which all files are taken, those of the folders in it too, but none
        whose name (or folder's name) begins with ``.`` or ``_``; or a glob pattern, in which
        ``**`` stands for any folders.
    options
        Of the object store, as an archive's ``storage_options``; of fsspec for other URLs.

    Raises
    ------
    NotFoundError
        If there is none.
    InvalidInputError
        If options do not fit.
    StorageError
        If the store cannot be reached or denies access.
    """
    return tuple(name for name, _ in _names(os.fspath(path), options))


def list_files(path: str | os.PathLike[str], options: Options = _NONE) -> tuple[FoundFile, ...]:
    """Return the files as `find_files` does, with their sizes and states; it raises the same."""
    url = os.fspath(path)
    names = _names(url, options)
    if not is_object_store(url):
        return tuple(FoundFile(name, *found) for name, found in names)
    system, _ = connect(url, options)
    with _reaching(url), ThreadPoolExecutor(_ASKING) as pool:
        states = pool.map(lambda one: _object_state(system, one[0].partition("://")[2]), names)
        return tuple(
            FoundFile(name, *found) for (name, _), found in zip(names, states, strict=True)
        )


def _names(url: str, options: Options) -> list[tuple[str, tuple[int, str]]]:
    with _reaching(url):
        found = _objects(url, options) if is_object_store(url) else _others(url, options)
    if not found:
        msg = f"no file found at {url!r}; check the path, or that the pattern matches something"
        raise NotFoundError(msg)
    return sorted(found)


def _objects(url: str, options: Options) -> list[tuple[str, tuple[int, str]]]:
    system, inner = connect(url, options)
    scheme = url.partition("://")[0]
    names = _object_names(system, inner)
    return [(f"{scheme}://{name}", (0, "")) for name in names]


def _object_names(system: pafs.FileSystem, inner: str) -> list[str]:
    magic = _MAGIC.search(inner)
    if magic is None:
        kind = system.get_file_info(inner).type
        if kind == pafs.FileType.File:
            return [inner]
        return [name for name in _below(system, inner) if not _is_hidden(name, inner)]
    # One recursive listing of what does not vary, instead of one a folder.
    root = inner[: magic.start()].rpartition("/")[0]
    if not root:
        msg = f"{inner!r}: name the bucket; only what follows it may be a pattern"
        raise InvalidInputError(msg)
    matches = re.compile(glob_translate(inner)).match
    return [name for name in _below(system, root) if matches(name)]


def _below(system: pafs.FileSystem, folder: str) -> list[str]:
    selector = pafs.FileSelector(folder, recursive=True, allow_not_found=True)
    return [one.path for one in system.get_file_info(selector) if one.type == pafs.FileType.File]


def _object_state(system: pafs.FileSystem, inner: str) -> tuple[int, str]:
    with system.open_input_file(inner) as stream:
        size, marks = stream.size(), stream.metadata() or {}
    known = {_text(key).lower(): _text(value) for key, value in marks.items()}
    changed = known.get("etag") or known.get("last-modified") or ""
    if not changed:
        changed = str(system.get_file_info(inner).mtime_ns)
    return size, f"{size}-{changed.strip(chr(34))}"


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _others(url: str, options: Options) -> list[tuple[str, tuple[int, str]]]:
    system, inner = fsspec.core.url_to_fs(url, **options)
    if system.isfile(inner):
        names: Iterable[str] = [inner]
    elif system.isdir(inner):
        names = [name for name in system.find(inner) if not _is_hidden(name, inner)]
    else:
        names = [name for name in system.glob(inner) if system.isfile(name)]
    if "file" in system.protocol:
        return [(name, _local_state(name)) for name in names]
    return [(str(system.unstrip_protocol(name)), _state(system, name)) for name in names]


def _local_state(name: str) -> tuple[int, str]:
    state = os.stat(name)
    return state.st_size, f"{state.st_size}-{state.st_mtime_ns}"


def _state(system: Any, name: str) -> tuple[int, str]:
    about = system.info(name)
    size = int(about.get("size") or 0)
    keys = ("ETag", "etag", "mtime", "LastModified", "last_modified", "created")
    changed = next((str(about[key]) for key in keys if about.get(key)), "")
    return size, f"{size}-{changed}"


def _is_hidden(name: str, folder: str) -> bool:
    inside = name[len(folder) :].strip("/").split("/")
    return any(part.startswith((".", "_")) for part in inside)


def open_packed(path: str, options: Options = _NONE) -> Any:
    """Open a file for reading its bytes as they are stored, at any place of it.

    Raises
    ------
    StorageError
        If the file cannot be read.
    """
    with _reaching(path):
        if is_object_store(path):
            system, inner = connect(path, options)
            return system.open_input_file(inner)
        return fsspec.open(path, "rb", **options).open()


def open_file(path: str, options: Options = _NONE) -> io.BufferedReader:
    """Open a file for reading bytes, unpacked if its name ends like a compressed file's.

    Parameters
    ----------
    path
        As `find_files` returns it.
    options
        As given to `find_files`.

    Raises
    ------
    StorageError
        If the file cannot be read.
    """
    return unpack(open_packed(path, options), path)


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    """Tell which URL it was that a store could not serve."""
    try:
        yield
    except FileNotFoundError as error:
        msg = f"no file found at {url!r}: {error}"
        raise NotFoundError(msg) from error
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        msg = f"{url!r} cannot be read: {error}; check the address, credentials and access rights"
        raise StorageError(msg) from error
