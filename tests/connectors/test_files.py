"""Finding and opening files: folders, patterns, compressed files, and what content they have."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from pipeline.connectors.mapping import find_files, list_files, open_file
from pipeline.connectors.mapping.object_stores import connect, is_object_store
from pipeline.errors import InvalidInputError, NotFoundError, StorageError

TEXT = b"a,b\n1,2\n" * 5000


def arrow_packed(codec: str) -> Callable[[bytes], bytes]:
    def pack(data: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(data)
        return bytes(sink.getvalue().to_pybytes())

    return pack


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".lzma": lzma.compress,
    ".zst": arrow_packed("zstd"),
    ".lz4": arrow_packed("lz4"),
}


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def names_of(folder: Path, found: tuple[str, ...]) -> list[str]:
    return [str(Path(path).relative_to(folder)) for path in found]


def test_folders_patterns_and_files(tmp_path: Path) -> None:
    tree(tmp_path, "b/2.csv", "a.csv", "b/c/3.csv", "b/_SUCCESS", ".b/4.csv", "b/.5.csv", "b/6.txt")
    assert names_of(tmp_path, find_files(tmp_path)) == ["a.csv", "b/2.csv", "b/6.txt", "b/c/3.csv"]
    pattern = tmp_path / "**" / "*.csv"
    assert {"a.csv", "b/2.csv", "b/c/3.csv"} <= set(names_of(tmp_path, find_files(pattern)))
    assert names_of(tmp_path, find_files(tmp_path / "b" / "*.csv")) == ["b/.5.csv", "b/2.csv"]
    assert names_of(tmp_path, find_files(tmp_path / "b" / "_SUCCESS")) == ["b/_SUCCESS"]
    for missing in ("none", "*.json", "b/c/*.txt"):
        with pytest.raises(NotFoundError, match="no file found"):
            find_files(tmp_path / missing)


def test_the_state_of_a_file_changes_with_its_content(tmp_path: Path) -> None:
    path = tree(tmp_path, "a.csv") / "a.csv"
    (before,) = list_files(path)
    assert before.size == 5
    about = path.stat()
    assert before.state == f"5-{about.st_mtime_ns}"
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    (after,) = list_files(path)
    assert after.path == before.path
    assert after.state != before.state


def test_other_file_systems_of_fsspec() -> None:
    system = fsspec.filesystem("memory")
    system.pipe_file("/some/a.csv", b"one")
    (found,) = list_files("memory://some/*.csv")
    assert found.size == 3
    with open_file(found.path) as stream:
        assert stream.read() == b"one"
    system.pipe_file("/some/a.csv", b"two")
    (changed,) = list_files("memory://some/*.csv")
    assert changed.state != found.state
    system.rm("/some", recursive=True)


@pytest.mark.parametrize("ending", PACKERS)
def test_compressed_files_are_unpacked(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.csv{ending.upper() if ending == '.gz' else ending}"
    pack = PACKERS[ending]
    path.write_bytes(pack(TEXT) + pack(b"more\n"))  # members that follow one another count
    with open_file(str(path)) as stream:
        assert stream.readline() == b"a,b\n"
        assert stream.read() == TEXT[4:] + b"more\n"
        packed = stream
    assert packed.closed
    if ending != ".lzma":
        path.write_bytes(pack(os.urandom(100_000))[:-20])
        with open_file(str(path)) as stream, pytest.raises((OSError, EOFError)):
            stream.read()


def test_zip_files_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", TEXT)
    with open_file(str(path)) as stream:
        assert stream.read() == TEXT
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.csv", TEXT)
    with pytest.raises(InvalidInputError, match="exactly one file"):
        open_file(str(path))


def test_files_that_are_gone(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="none"):
        open_file(str(tmp_path / "none"))


KEY = {"access_key_id": "a", "secret_access_key": "b", "region": "eu-north-1"}


@pytest.mark.parametrize(
    ("url", "options", "kind", "path"),
    [
        ("s3://b/k/x.csv", KEY | {"endpoint_url": "http://127.0.0.1:1"}, pafs.S3FileSystem, "b/k/x.csv"),
        ("s3a://b", KEY, pafs.S3FileSystem, "b"),
        ("gs://b/k", {"anonymous": True, "endpoint_url": "http://127.0.0.1:1"}, pafs.GcsFileSystem, "b/k"),
        (
            "az://c/k",
            {"account": "me", "access_key": "a2V5", "endpoint_url": "http://127.0.0.1:1"},
            pafs.AzureFileSystem,
            "c/k",
        ),
    ],
)  # fmt: skip
def test_object_stores_take_the_options_of_archives(
    url: str, options: dict[str, Any], kind: type, path: str
) -> None:
    assert is_object_store(url)
    system, inner = connect(url, options)
    assert isinstance(system, kind)
    assert inner == path
    assert connect(url, options)[0] is system


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("s3://", {}, "bucket and a key"),
        ("s3://b/k", {"acces_key_id": "a"}, r"unknown storage options \['acces_key_id'\]"),
        ("s3://b/k", {"access_key_id": "a"}, "do not fit"),
        ("az://b/k", {}, "account"),
    ],
)
def test_options_that_do_not_fit(
    url: str, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(InvalidInputError, match=message):
        connect(url, options)


def test_a_store_that_cannot_be_reached(tmp_path: Path) -> None:
    options = KEY | {"endpoint_url": "http://127.0.0.1:1", "connect_timeout": 1}
    with pytest.raises(StorageError, match=r"s3://b/k.*check the address"):
        find_files("s3://b/k", options)
    with pytest.raises(StorageError, match="s3://b/k"):
        open_file("s3://b/k", options)


def test_streams_are_buffered(tmp_path: Path) -> None:
    path = tree(tmp_path, "a.csv") / "a.csv"
    with open_file(str(path)) as stream:
        assert isinstance(stream, io.BufferedReader)
        assert stream.peek(2)[:2] == b"a."
        assert stream.read() == b"a.csv"
