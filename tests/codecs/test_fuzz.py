"""Whatever bytes come, a decoder gives rows or `CorruptBlockError`; campaigns of crafted blocks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import config

from pipeline.codecs.block import decode_block, describe, read_header
from pipeline.codecs.cursor import Cursor, sized
from pipeline.codecs.entropy import ENTROPY
from pipeline.codecs.frame import MAX_ROWS
from pipeline.codecs.lanes import NONE, PREDICTORS, read_lanes
from pipeline.codecs.pointwise import Mapping
from pipeline.codecs.series import BINS, INHERITED, LIST, RUNS
from pipeline.errors import CorruptBlockError
from tests.codecs.block_columns import assemble
from tests.codecs.fuzz_blocks import FAMILIES, crafted, make, seed_blocks
from tests.codecs.fuzz_streams import LanedStream
from tests.codecs.fuzzing import campaign, check, memory_limit

ROOT = Path(__file__).parents[2]
INTERPRETED = bool(config.DISABLE_JIT)  # type: ignore[attr-defined]
BLOCKS = seed_blocks()


def in_subprocess(count: int, seed: int, rows: int, **environment: str) -> str:
    """Run a campaign in another process; what it printed."""
    command = [sys.executable, "-m", "tests.codecs.fuzzing"]
    command += ["--count", str(count), "--seed", str(seed), "--rows", str(rows)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_the_blocks_to_be_damaged_go_through_every_stage() -> None:
    headers = [read_header(block) for block in BLOCKS.values()]
    stages = {header.entropy & ~INHERITED for header in headers}
    assert stages == {*ENTROPY, BINS, RUNS, LIST}
    laned = {header.predictor for header in headers if header.entropy == BINS}
    assert laned == set(PREDICTORS)
    assert all(
        decode_block(block).values.size == read_header(block).rows for block in BLOCKS.values()
    )
    described = [describe(block)["stages"] for block in BLOCKS.values()]
    told = [stages for stages in described if stages.get("entropy") == "bins"]
    assert any(0 < stages["outliers"] < 8 for stages in told)
    assert any(stages["outliers"] >= 8 for stages in told)
    assert any(stages["low_bits"] for stages in told)
    assert any(stages["contexts"] > 1 for stages in told)
    assert any(stages["plane_bits"] and not stages["pairs"] for stages in told)
    assert any(stages["plane_bits"] and stages["pairs"] for stages in told)
    assert INTERPRETED or any(stages["groups"] > 1 for stages in told)


@pytest.mark.parametrize("name", [name for name, block in BLOCKS.items() if len(block) < 700])
def test_every_single_bit_and_every_truncation(name: str) -> None:
    block = BLOCKS[name]
    for bit in range(8 * len(block)):
        damaged = bytearray(block)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptBlockError):
            decode_block(bytes(damaged))
    for size in range(len(block)):
        with pytest.raises(CorruptBlockError):
            decode_block(block[:size])
        assert not check(block[:size])


@pytest.mark.parametrize("name", [name for name, block in BLOCKS.items() if len(block) < 700])
def test_every_single_bit_and_truncation_of_a_payload_behind_good_checksums(name: str) -> None:
    block = BLOCKS[name]
    payload = block[read_header(block).size :]
    step = 5 if INTERPRETED else 1
    for bit in range(0, 8 * len(payload), step):
        damaged = bytearray(payload)
        damaged[bit // 8] ^= 1 << bit % 8
        check(crafted(block, bytes(damaged)))
    for size in range(0, len(payload), step):
        check(crafted(block, payload[:size]))


def test_a_campaign() -> None:
    outcome = campaign(400 if INTERPRETED else 4000, seed=7, rows=300 if INTERPRETED else 6000)
    assert not outcome.failures, "\n".join(outcome.failures[:5])
    assert set(outcome.inputs) == {*FAMILIES, "part"}
    for name in ("laned", "runs", "plain", "damaged payload", "part"):  # not only nonsense
        assert outcome.decoded[name] > outcome.inputs[name] // 10, name


def test_a_campaign_in_interpreted_loops_finds_no_index_out_of_bounds() -> None:
    output = in_subprocess(60, seed=11, rows=100, NUMBA_DISABLE_JIT="1")
    assert " 0 failures" in output


@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_a_long_campaign() -> None:
    outcome = campaign(200_000, seed=1)
    assert not outcome.failures, "\n".join(outcome.failures[:5])


@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_a_long_campaign_with_every_index_checked(tmp_path: Path) -> None:
    """Compiling the loops with checks takes most of a minute, hence not in the usual tests."""
    output = in_subprocess(
        200_000, seed=2, rows=6000, NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path)
    )
    assert " 0 failures" in output


@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_a_long_campaign_in_interpreted_loops() -> None:
    assert " 0 failures" in in_subprocess(5000, seed=3, rows=300, NUMBA_DISABLE_JIT="1")


def test_inputs_are_known_by_seed_and_number() -> None:
    assert make(3, 14) == make(3, 14)
    assert make(3, 14) != make(3, 15)


def lanes_of(stream: LanedStream) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    lanes = read_lanes(
        stream.predictor, Cursor(memoryview(b"\x00\x01" + stream.write())), stream.rows
    )
    lanes.table()
    return lanes.restore(0, stream.rows, Mapping())


def laned(rows: int = 10, **fields: Any) -> LanedStream:
    stream = LanedStream(rows, lane=rows, tail=bytes(8 * rows + 64))
    for name, value in fields.items():
        setattr(stream, name, value)
    return stream


def test_a_stream_put_together_by_hand() -> None:
    assert lanes_of(laned(base=-7)).tolist() == [-7] * 10


@pytest.mark.parametrize("bits", [1, 2, 3, 13, 15])
def test_numbers_of_states_that_cannot_be_spread_are_refused(bits: int) -> None:
    with pytest.raises(CorruptBlockError, match="impossible table"):
        lanes_of(laned(state_bits=bits))


@pytest.mark.parametrize("base", [-(2**38) - 1, 2**38, 2**62, -(2**63)])
def test_bases_that_no_entry_holds_are_refused(base: int) -> None:
    with pytest.raises(CorruptBlockError, match="impossible table"):
        lanes_of(laned(base=base))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"extras": [51]}, "impossible table"),
        ({"extras": [0] * 256, "steps": [0] * 256, "frequencies": [[0] * 255]}, "impossible table"),
        ({"extras": [0, 0], "steps": [2**40 - 1, 0], "frequencies": [[1]]}, "impossible table"),
        ({"extras": [0, 0], "steps": [0, 0], "frequencies": [[33]]}, "impossible table"),
        ({"extras": [0, 0], "steps": [0, 0], "frequencies": [[9000]]}, "impossible table"),
        ({"contexts": 2, "kinds": [2], "frequencies": [[], []]}, "impossible table"),
        ({"contexts": 2, "moves": [0, 2], "frequencies": [[], []]}, "impossible table"),
        ({"tail": b"", "rows": 300, "lane": 300, "extras": [50]}, "impossible bit stream"),
        ({"low": 62, "tail": b""}, "cut short"),
        ({"low": 63, "pair_bits": 7}, "pairs of impossible"),
        ({"low": 63, "pair_least": 2**18}, "pairs of impossible"),
        ({"low": 63, "rows": 9, "lane": 9}, "lanes of impossible"),
        ({"low": 63, "base": -1}, "impossible bit stream"),
        ({"low": 63, "base": 2**20, "pair_bits": 2}, "impossible bit stream"),
        ({"low": 63, "pair_bits": 0}, "pairs of impossible"),
        ({"low": 63, "pair_bits": 64}, "pairs of impossible"),
        ({"low": 63, "pair_bits": 0, "plane_flag": True}, "pairs of impossible"),
        ({"low": 63, "plane_flag": True}, "pairs of impossible"),
        ({"low": 63, "pair_bits": 7, "planes": 3}, "pairs of impossible"),
        ({"low": 63, "pair_bits": 0, "planes": 63}, "pairs of impossible"),
        ({"low": 63, "pair_bits": 0, "planes": 128}, "pairs of impossible"),
        ({"low": 63, "pair_bits": 0, "planes": 129}, "pairs of impossible"),
        ({"low": 63, "pair_bits": 128, "planes": 0}, "pairs of impossible"),
        ({"low": 63, "pair_bits": 256}, "pairs of impossible"),
        ({"low": 63, "rows": 9, "lane": 9, "planes": 1}, "lanes of impossible"),
        ({"low": 63, "pair_bits": 0, "planes": 62, "tail": bytes(8)}, "cut short"),
        ({"low": 63, "planes": 1, "rows": 300, "lane": 300, "tail": bytes(100)}, "cut short"),
        ({"low": 64}, "too large"),
        ({"lane": 9}, "lanes of impossible"),
        ({"lane": 11}, "too large"),
        ({"predictor": 5}, "unknown predictor"),
        ({"predictor": 3, "shift": 9}, "impossible shift"),
        ({"predictor": 4, "shift": 64}, "impossible shift"),
        ({"predictor": 4, "period": 0}, "impossible shift or period"),
        ({"outliers": b"\x0b"}, "too large"),
        ({"outliers": b"\x02\x03\x00\x00\x00"}, "out of order"),
        ({"outliers": b"\x01\x0a\x00"}, "beyond the rows"),
    ],
)
def test_laned_streams_that_cannot_be(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(CorruptBlockError, match=says):
        lanes_of(laned(**fields))


def wrapped(number: int) -> int:
    """A number as 64 bits hold it."""
    return (number + 2**63) % 2**64 - 2**63


@pytest.mark.parametrize("planes", [1, 13, 16, 62])
def test_planes_put_together_by_hand(planes: int) -> None:
    stream = laned(low=63, pair_bits=0, planes=planes, base=-7, tail=b"")
    states = bytes(2)
    stream.tail = states + b"\xff" * stream.plane_bytes()
    assert lanes_of(stream).tolist() == [wrapped((-6 << planes) - 1)] * 10
    stream.tail = states + bytes(stream.plane_bytes())
    assert lanes_of(stream).tolist() == [wrapped(-7 << planes)] * 10


def test_groups_that_reach_into_the_planes_are_refused() -> None:
    """Two groups of bins with 40 plain bits; the planes are there, and bits for the groups not."""
    stream = laned(2048, low=63, pair_bits=0, planes=2, extras=[40])
    stream.lane, stream.groups = 256, [256 * 4 * 40]
    good = 2048 * 40 // 8 + 64
    stream.tail = bytes(good + stream.plane_bytes())
    assert lanes_of(stream).size == 2048
    for missing in (64, 1024, good // 2 - 100):
        stream.tail = bytes(good - 64 - missing + stream.plane_bytes())
        with pytest.raises(CorruptBlockError, match=r"impossible bit stream|cut short"):
            lanes_of(stream)


def test_describing_runs_refuses_runs_within_runs_however_deep() -> None:
    body = b"\x00\x01\x01"
    for _ in range(2000):
        body = b"\x00\x01\x01\x00\x06" + sized(body)
    for reader in (describe, decode_block):
        with pytest.raises(CorruptBlockError, match="runs within runs"):
            reader(assemble("int64", 5, (0, 0, RUNS), b"\x01" + body))


def test_describing_no_runs_at_all() -> None:
    stream = b"\x00\x01\x00\x00\x05" + sized(b"\x00\x01\x00\x00\x00" + bytes(9))
    for reader in (describe, decode_block):
        with pytest.raises(CorruptBlockError, match="no runs for 5 rows"):
            reader(assemble("int64", 5, (0, 0, RUNS), b"\x01" + stream))


def test_a_million_rows_of_a_few_bytes_take_their_own_memory_only() -> None:
    rows = 2000 if INTERPRETED else MAX_ROWS
    stream = laned(rows)
    stream.lane, stream.tail = rows, bytes(40)
    payload = b"\x01\x00\x01" + stream.write()
    block = assemble("int64", rows, (0, NONE, BINS), payload)
    assert decode_block(block).values.tolist() == [0] * rows
    assert memory_limit(rows, len(block)) < 100 * rows + 10**6
