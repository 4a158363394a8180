"""Damaged files are noticed, named, and do not crash the reader."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import pipeline
from pipeline.errors import ArchiveError, CorruptBlockError
from tests.support import minutes

ROWS = 5000


def chunk_files(folder: Path) -> list[Path]:
    return sorted((folder / "chunks").iterdir(), key=lambda path: path.stat().st_size)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    archive = pipeline.Archive.create(tmp_path / "archive")
    fleet = archive.create_fleet("fleet", pipeline.Schema([pipeline.Channel("t", "float64")]))
    noise = np.random.default_rng(3).normal(size=ROWS)
    times = minutes(0)[0] + np.arange(ROWS) * np.timedelta64(1, "s")
    fleet.append({"device": "a", "time": times, "t": noise})
    return tmp_path / "archive"


def read(folder: Path) -> None:
    pipeline.Archive.open(folder).fleet("fleet").read().read_all()


@pytest.mark.parametrize("position", [0, 40, -1, 20_000])
def test_a_flipped_byte_is_found_by_the_checksum(folder: Path, position: int) -> None:
    largest = chunk_files(folder)[-1]
    data = bytearray(largest.read_bytes())
    data[position] ^= 0x20
    largest.write_bytes(data)
    with pytest.raises(CorruptBlockError, match="fleet/raw/t/c/"):
        read(folder)


def test_a_chunk_that_is_gone_is_named(folder: Path) -> None:
    chunk_files(folder)[-1].unlink()
    with pytest.raises(CorruptBlockError, match=r"fleet/raw/t/c/.* is gone"):
        read(folder)


@pytest.mark.parametrize("size", [0, 10, 1000, 30_000])
def test_a_shortened_chunk_is_an_error_of_ours(folder: Path, size: int) -> None:
    largest = chunk_files(folder)[-1]
    largest.write_bytes(largest.read_bytes()[:size])
    with pytest.raises(ArchiveError, match=r"fleet/raw/t/c/"):
        read(folder)


def test_answers_from_summaries_outlive_a_lost_block(folder: Path) -> None:
    before = pipeline.Archive.open(folder).fleet("fleet").aggregate({"t": "mean"})
    chunk_files(folder)[-1].unlink()
    after = pipeline.Archive.open(folder).fleet("fleet").aggregate({"t": "mean"})
    np.testing.assert_array_equal(before["t_mean"].values, after["t_mean"].values)


def test_an_archive_without_its_refs_is_not_found(folder: Path) -> None:
    shutil.rmtree(folder / "refs")
    with pytest.raises(ArchiveError):
        read(folder)
