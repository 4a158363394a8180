"""Bytes that earlier releases wrote still decode, and are still what the filters write."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr

from tests.golden.make_filters import FOLDER, add_missing, cases, chains

MANIFEST: dict[str, dict[str, Any]] = json.loads((FOLDER / "manifest.json").read_text())
BUFFERS = [name for name, entry in MANIFEST.items() if "codec" in entry]
ARRAYS = [name for name, entry in MANIFEST.items() if "zarr" in entry]


@pytest.mark.parametrize("name", BUFFERS)
def test_old_bytes_decode(name: str) -> None:
    entry = MANIFEST[name]
    codec = numcodecs.get_codec(dict(entry["codec"]))
    decoded = codec.decode((FOLDER / entry["encoded"]).read_bytes())
    assert np.asarray(decoded).tobytes() == np.load(FOLDER / entry["expected"]).tobytes()


@pytest.mark.parametrize("name", BUFFERS)
def test_the_formats_leave_no_choice_to_the_encoder(name: str) -> None:
    entry = MANIFEST[name]
    codec = numcodecs.get_codec(dict(entry["codec"]))
    encoded = codec.encode(np.load(FOLDER / entry["expected"]))
    assert np.asarray(encoded).tobytes() == (FOLDER / entry["encoded"]).read_bytes()


@pytest.mark.parametrize("name", ARRAYS)
def test_old_zarr_arrays_are_read(name: str) -> None:
    entry = MANIFEST[name]
    read = np.asarray(zarr.open_array(FOLDER / entry["zarr"], mode="r")[:])
    assert read.tobytes() == np.load(FOLDER / entry["expected"]).tobytes()


def test_every_case_has_its_golden_files() -> None:
    assert set(MANIFEST) >= {*cases(), *chains()}


def test_adding_cases_never_touches_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "filters"
    shutil.copytree(FOLDER, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "delta-one.bin").write_bytes(b"kept as it is")
    for suffix in ("bin", "npy"):
        (folder / f"varint-i8.{suffix}").unlink()
    del manifest["varint-i8"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert add_missing(folder) == ["varint-i8"]
    assert (folder / "delta-one.bin").read_bytes() == b"kept as it is"
    assert json.loads((folder / "manifest.json").read_text()) == MANIFEST
    assert add_missing(folder) == []


def test_a_file_without_its_entry_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "delta-times.bin").write_bytes(b"somebody's")
    with pytest.raises(FileExistsError):
        add_missing(tmp_path)
    assert (tmp_path / "delta-times.bin").read_bytes() == b"somebody's"
