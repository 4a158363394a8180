"""Damaged, forged and random blocks raise `CorruptBlockError` and nothing else."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.codecs.block import HEADER_BYTES, decode_block, describe, encode_block, read_header
from pipeline.codecs.cursor import varint
from pipeline.codecs.frame import MAX_ROWS
from pipeline.errors import CorruptBlockError
from tests.codecs.block_columns import (
    DTYPE_NAMES,
    assemble,
    bits_column,
    hard_floats,
    sensor,
    times,
    walk,
)
from tests.codecs.block_frames import as_version_1, resealed, resealed_version_1


def small_blocks() -> dict[str, bytes]:
    gaps = np.arange(60) % 7 != 3
    misfits = sensor(200)
    misfits[[20, 21, 90]] = [np.pi, -0.0, np.inf]
    misfits[150:170] = np.nan
    return {
        "empty": encode_block(np.empty(0)),
        "one": encode_block(np.array([21.5])),
        "constant": encode_block(np.full(40, True)),
        "sensor": encode_block(sensor(100)),
        "times": encode_block(times(3, 20)),
        "gaps": encode_block(walk(60, "int16"), gaps),
        "bits": encode_block(bits_column(20, "float32")),
        "misfits": encode_block(misfits),
        "dictionary": encode_block(np.tile([0.123456789, 777.1, -3e9 / 7], 30)),
        "hard": encode_block(hard_floats("float64")),
    }


BLOCKS = small_blocks()


@pytest.mark.parametrize("name", BLOCKS)
def test_every_flipped_bit_is_noticed(name: str) -> None:
    block = BLOCKS[name]
    assert resealed(block, block) == block
    for bit in range(8 * len(block)):
        damaged = bytearray(block)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptBlockError, match="block chunk/7 is corrupt"):
            decode_block(bytes(damaged), where="chunk/7")


@pytest.mark.parametrize("name", BLOCKS)
def test_every_truncation_and_extension_is_noticed(name: str) -> None:
    block = BLOCKS[name]
    for size in range(len(block)):
        with pytest.raises(CorruptBlockError, match=r"cut short|checksum|payload"):
            decode_block(block[:size])
    for tail in (b"\0", b"IOTB", block):
        with pytest.raises(CorruptBlockError, match="bytes of payload"):
            decode_block(block + tail)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_damaged_header_is_noticed_by_itself(name: str) -> None:
    block = BLOCKS[name]
    size = read_header(block).size
    for at in range(size):
        damaged = bytearray(block[:HEADER_BYTES])
        damaged[at] ^= 0x40
        with pytest.raises(CorruptBlockError, match="block c/0 is corrupt"):
            read_header(bytes(damaged), where="c/0")
        with pytest.raises(CorruptBlockError):
            read_header(block[:at])


def harmless(decode: Callable[[bytes], Any], block: bytes) -> None:
    """Decode a block with good checksums: it may be well-formed, or else be called corrupt."""
    try:
        decoded, header = decode(block), read_header(block)
    except CorruptBlockError:  # of a header's statistics, which decoding does not look at, or else
        return
    assert decoded.values.shape == (header.rows,)
    assert decoded.values.dtype == header.dtype
    if decoded.values.dtype.kind == "b":
        assert decoded.values.view(np.uint8).max(initial=0) <= 1
    assert decoded.valid is None or decoded.valid.shape == (header.rows,)


@pytest.mark.parametrize("name", BLOCKS)
def test_damage_behind_good_checksums_does_no_harm(name: str) -> None:
    block = BLOCKS[name]
    rows = range(7, 10)  # a million rows take long where loops are interpreted
    for at in set(range(4, len(block))) - set(rows):
        for damage in (1, 2, 0x80, 0xFF):
            damaged = bytearray(block)
            damaged[at] ^= damage
            harmless(decode_block, resealed(bytes(damaged), block))
    for at in range(read_header(block).size, len(block)):
        harmless(decode_block, resealed(block[:at] + block[at + 1 :], block))
        harmless(decode_block, resealed(block[:at] + b"\xff" + block[at:], block))


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    for decode in (decode_block, read_header, describe):
        with pytest.raises(CorruptBlockError):
            decode(data)
        with pytest.raises(CorruptBlockError):
            decode(b"IOTB\x01" + data)
        with pytest.raises(CorruptBlockError):
            decode(b"IOTB\x02" + data)


@given(
    st.sampled_from(DTYPE_NAMES),
    st.integers(0, 40),
    st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 6)),
    st.lists(st.integers(0, 8) | st.integers(0, 255), max_size=40),
)
def test_random_payloads(
    dtype: str, rows: int, stages: tuple[int, int, int], payload: list[int]
) -> None:
    harmless(decode_block, assemble(dtype, rows, stages, bytes(payload)))
    harmless(decode_block, assemble(dtype, rows, stages, b"\x01" + bytes(payload)))


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        (0, b"IOTC", "instead of"),
        (4, b"\x03", "format version 3"),
        (4, b"\x00", "format version 0"),
        (5, b"\x00", "dtype code 0"),
        (5, b"\x0a", "dtype code 10"),
        (6, b"\xc8", "unknown transform 200"),
        (7, b"\x09", "unknown predictor"),
        (8, b"\x09", "unknown entropy stage 9"),
        (9, b"\x01", "flags 1"),
        (10, struct.pack("<I", MAX_ROWS + 1), f"{MAX_ROWS + 1} rows"),
        (10, b"\xff\xff\xff\xff", "4294967295 rows"),
        (14, struct.pack("<I", 101), "101 missing"),
    ],
)
def test_headers_that_cannot_be(at: int, value: bytes, says: str) -> None:
    block = as_version_1(BLOCKS["sensor"])
    forged = resealed_version_1(block[:at] + value + block[at + len(value) :])
    with pytest.raises(CorruptBlockError, match=says):
        decode_block(forged)


@pytest.mark.parametrize(
    ("dtype", "rows", "stages", "payload", "says"),
    [
        ("int8", 0, (0, 0, 0), b"\x00", "1 bytes too many"),
        ("int8", 3, (0, 0, 0), b"", "needs 1 bytes"),
        ("int8", 3, (0, 0, 0), b"\x00", "section 0"),
        ("int8", 3, (0, 0, 0), b"\x09\x00\x01", "section 9"),
        ("int8", 3, (0, 0, 0), b"\x02\x01\x00\x02\x01\x00\x01", "section 2"),
        ("int8", 3, (0, 0, 0), b"\x01\x00\x01\x00\x00", "1 bytes too many"),
        ("int8", 3, (1, 0, 0), b"\x01\x00\x01\x00", "ordered on int8"),
        ("int8", 3, (2, 0, 0), b"\x01\x01\x00\x00\x01\x00", "decimal on int8"),
        ("float32", 3, (2, 0, 0), b"\x01\x17\x00\x00\x01\x00", "23 digits"),
        ("float32", 3, (2, 0, 0), b"\x01\x01\x02\x00\x01\x00", "single 2"),
        ("int8", 3, (3, 0, 0), b"\x01\x03", "dictionary within"),
        ("int8", 3, (3, 0, 0), b"\x01\x09", "unknown transform 9"),
        ("int8", 3, (3, 0, 0), b"\x01\x00\x04", "at most 3"),
        (
            "int8",
            3,
            (3, 0, 0),
            b"\x01\x00\x01\x00\x00\x03\x00\x01\x00\x02\x01\x00",
            "entry beyond the 1",
        ),
        ("int8", 3, (0, 2, 0), b"\x01\x00\x01\x00\x00", "needs 1 bytes"),
        ("int8", 1, (0, 2, 0), b"\x01\x00\x01\x00\x00\x00", "impossible for 1 rows"),
        ("int8", 3, (0, 0, 0), b"\x03\x02\x02\x00\x01\x00\x01\x00", "repeated value of kind 2"),
        ("int8", 3, (0, 0, 0), b"\x02\x04\x00\x01\x00\x00\x01\x00\x01\x00", "bytes too many"),
    ],
)
def test_payloads_that_cannot_be(
    dtype: str, rows: int, stages: tuple[int, int, int], payload: bytes, says: str
) -> None:
    with pytest.raises(CorruptBlockError, match=says):
        decode_block(assemble(dtype, rows, stages, payload))


def test_a_few_bytes_never_unpack_into_many() -> None:
    giant = b"\xa0" + struct.pack("<I", 2**31) + bytes(40)
    body = b"\x00\x01\x08\x00" + varint(len(giant) << 2 | 1) + giant
    with pytest.raises(CorruptBlockError, match="buffer of 50 bytes"):
        decode_block(assemble("int64", 50, (0, 0, 2), b"\x01" + body))


def test_describing_a_stage_from_the_future() -> None:
    for stages in ((9, 0, 0), (0, 9, 0), (0, 0, 9)):
        with pytest.raises(CorruptBlockError, match="unknown"):
            describe(assemble("int8", 3, stages, b"\x01\x00\x01\x00"))


def test_errors_without_a_name_say_so() -> None:
    with pytest.raises(CorruptBlockError, match="of unknown origin"):
        decode_block(b"")


def test_bools_are_zero_or_one() -> None:
    block = assemble("bool", 3, (0, 0, 0), b"\x03\x04\x01\x02\x03\x02\x01\x0a\x01\x00")
    values: NDArray[Any] = decode_block(block).values
    assert values.view(np.uint8).tolist() == [1, 1, 1]


def test_sections_for_later_decoders_are_passed_over() -> None:
    payload = b"\xc8\x03abc" + b"\x01\x0a\x01\x00"
    block = assemble("int8", 3, (0, 0, 0), payload)
    assert decode_block(block).values.tolist() == [5, 5, 5]
    assert describe(block)["section_bytes"] == {"200": 3, "values": 3}
    with pytest.raises(CorruptBlockError, match="section 200"):
        decode_block(assemble("int8", 3, (0, 0, 0), b"\xc8\x03abc" + payload))


RUN_ON = bytes.fromhex(
    "494f5442024134d20f0000858a028e80b2060045d5d7de9401fb030100f60300200c00fe39090ccc0922590e"
    "bbadd60e619142dfcda4f95880b414b5631cd37273d2a8057ff4f5ca3c35fc5c7b59fc0f636d4de6f7be8036"
    "122d060d5197833132b40e7e842159f84880e7776b39f308319a541aedb0921175c4b8cd572f3497c8c3576c"
    "5901d47d2a68e390859d4693c633ace5b941bea4d395e61e1fa2dae04fe23e382dc5cf8692ad0268f62aa3a0"
    "cf99a60dbbd721bf2ef3492846755c3d032592e9b484408990876cfcc04790073053791b81bb238b2ba614fc"
    "c22ad0547e5336b5532cf0d8220003ca201c38dd119b238563c54486ccac54e4ed3bb34513c599f8d2764a5e"
    "fea988e57eb665958b3a412a2a05e3bbcf690b4abd0e608cac00"
)
"""A sealed header whose numbers run on beyond it, and a payload that goes with it."""


def test_numbers_that_run_on_beyond_the_header() -> None:
    with pytest.raises(CorruptBlockError):
        decode_block(RUN_ON)


@pytest.mark.parametrize("bits", [*range(46, 64)])
@pytest.mark.parametrize("section", [2, 200])
def test_lengths_that_no_place_can_be_moved_by(bits: int, section: int) -> None:
    size = (1 << bits) - 3
    payload = bytes((section,)) + varint(size) + b"\x01\x0a\x01\x00" * 8
    with pytest.raises(CorruptBlockError, match="needs .* bytes where"):
        decode_block(assemble("int8", 3, (0, 0, 0), payload))
