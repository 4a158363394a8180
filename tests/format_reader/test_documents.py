"""FORMAT.md keeps in step: it tells of everything that there is in the code."""

from __future__ import annotations

import re
from pathlib import Path

import pipeline.archive
import pipeline.codecs
from pipeline.archive.layout import CHANGE_FIELDS, DEVICE_BLOCK_FIELDS, INDEX_FIELDS
from pipeline.codecs.block import HEADER_BYTES
from pipeline.codecs.content import SECTIONS
from pipeline.codecs.entropy import ENTROPY
from pipeline.codecs.frame import MAX_ROWS
from pipeline.codecs.transforms import TRANSFORMS
from pipeline.model.dtypes import CHANNEL_DTYPES
from pipeline.schema import changes

BLOCKS, ARCHIVES = (
    (Path(package.__path__[0]) / "FORMAT.md").read_text()
    for package in (pipeline.codecs, pipeline.archive)
)


def rows(document: str) -> set[tuple[str, str]]:
    """Return the first two cells of every row of a table."""
    return set(re.findall(r"^\| ([^|]*?) \| ([^|]*?) \|", document, re.MULTILINE))


def test_every_stage_is_described() -> None:
    told = rows(BLOCKS)
    for id, transform in TRANSFORMS.items():
        assert (str(id), transform.name) in told
    for id, entropy in ENTROPY.items():
        assert (str(id), entropy.name) in told
    for id, name in SECTIONS.items():
        assert (str(id), name) in told
    assert f"{MAX_ROWS:,} rows" in BLOCKS
    assert f"first {HEADER_BYTES} bytes" in BLOCKS


def test_every_field_is_described() -> None:
    for name in (*INDEX_FIELDS, *CHANGE_FIELDS, *DEVICE_BLOCK_FIELDS):
        assert f"`{name}`" in ARCHIVES
    for kind in changes._KINDS:
        assert f"`{kind}`" in ARCHIVES
    for dtype in ("int8", "uint64", "float32", "float64", "bool", "category"):
        assert dtype in CHANNEL_DTYPES
        assert f"`{dtype}`" in ARCHIVES
