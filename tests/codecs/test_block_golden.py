"""Blocks that earlier releases wrote still decode, bit for bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.codecs import lanes
from pipeline.codecs.block import decode_block, describe, read_header
from pipeline.codecs.entropy import ENTROPY
from pipeline.codecs.frame import DTYPES
from pipeline.codecs.predictors import PREDICTORS
from pipeline.codecs.series import BINS, INHERITED, LIST, RUNS
from pipeline.codecs.transforms import TRANSFORMS
from tests.codecs.block_columns import same_bits
from tests.golden.make_blocks import FOLDER, add_missing, cases

MANIFEST: dict[str, dict[str, Any]] = json.loads((FOLDER / "manifest.json").read_text())


@pytest.mark.parametrize("name", MANIFEST)
def test_old_blocks_decode(name: str) -> None:
    entry = MANIFEST[name]
    block = (FOLDER / entry["block"]).read_bytes()
    decoded = decode_block(block, where=name)
    assert same_bits(decoded.values, np.load(FOLDER / entry["expected"]))
    if entry["valid"] is None:
        assert decoded.valid is None
    else:
        assert decoded.valid is not None
        assert same_bits(decoded.valid, np.load(FOLDER / entry["valid"]))


@pytest.mark.parametrize("name", MANIFEST)
def test_old_headers_are_read(name: str) -> None:
    entry = MANIFEST[name]
    header = read_header((FOLDER / entry["block"]).read_bytes())
    assert [header.transform, header.predictor, header.entropy] == entry["stages"]
    expected = np.load(FOLDER / entry["expected"])
    assert (header.rows, header.dtype) == (expected.size, expected.dtype)
    present = expected[np.load(FOLDER / entry["valid"])] if entry["valid"] else expected
    present = present[~np.isnan(present)] if present.dtype.kind == "f" else present
    assert header.statistics.count == present.size
    if present.size:
        assert header.statistics.min == present.min()
        assert header.statistics.last == present[-1]


def test_every_stage_and_dtype_has_a_golden_block() -> None:
    stages = [entry["stages"] for entry in MANIFEST.values()]
    assert {transform for transform, _, _ in stages} == set(TRANSFORMS)
    plain = {predictor for _, predictor, entropy in stages if entropy in ENTROPY}
    assert plain == set(PREDICTORS)
    laned = {predictor for _, predictor, entropy in stages if entropy & ~INHERITED == BINS}
    assert laned == set(lanes.PREDICTORS)
    assert {entropy & ~INHERITED for _, _, entropy in stages} == {*ENTROPY, BINS, RUNS, LIST}
    arrays = [np.load(FOLDER / entry["expected"]) for entry in MANIFEST.values()]
    assert {array.dtype for array in arrays} == set(DTYPES.values())


def test_every_case_has_its_golden_files() -> None:
    assert set(MANIFEST) >= set(cases())


def test_adding_cases_never_touches_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "blocks"
    shutil.copytree(FOLDER, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "sensor.block").write_bytes(b"kept as it is")
    for suffix in ("block", "npy", "valid.npy"):
        (folder / f"gaps.{suffix}").unlink()
    del manifest["gaps"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert add_missing(folder) == ["gaps"]
    assert (folder / "sensor.block").read_bytes() == b"kept as it is"
    assert json.loads((folder / "manifest.json").read_text()).keys() == MANIFEST.keys()
    del manifest["sensor"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FileExistsError):
        add_missing(folder)


def test_every_part_of_a_laned_stream_has_a_golden_block() -> None:
    told = [describe((FOLDER / entry["block"]).read_bytes())["stages"]
            for name, entry in MANIFEST.items() if name.startswith("series-")]  # fmt: skip
    laned = [stages for stages in told if stages.get("entropy") == "bins"]
    assert any(stages["pairs"] for stages in laned)
    assert any(stages["contexts"] > 1 for stages in laned)
    assert any(stages["outliers"] for stages in laned)
    assert any(stages["low_bits"] for stages in laned)
    assert any(stages["groups"] > 1 for stages in laned)


def test_every_layout_of_low_bits_in_planes_has_a_golden_block() -> None:
    told = {name: describe((FOLDER / entry["block"]).read_bytes())["stages"]
            for name, entry in MANIFEST.items() if name.startswith("planes-")}  # fmt: skip
    planes = [stages for stages in told.values() if stages["plane_bits"]]
    assert {stages["bin_rows"] for stages in planes} == {1, 2}
    assert any(stages["plain_bits"] for stages in planes)
    assert any(stages["pairs"] and stages["outliers"] for stages in planes)
    assert any(stages["pairs"] and stages["groups"] > 1 for stages in planes)
    assert any(stages["lane_rows"] % 256 == 0 for stages in planes)
    assert max(stages["plane_bits"] for stages in planes) > 48
    for pairs in (False, True):
        wide = [stages for stages in planes if stages["plane_bits"] > 32]
        assert any(stages["pairs"] == pairs for stages in wide)
