"""Every stage decodes what it encoded, under every combination, and refuses what it cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pipeline.codecs.block import decode_block
from pipeline.codecs.buffers import read_buffer, write_buffer
from pipeline.codecs.cursor import WORD, Cursor, as_signed, signed_varint, sized, varint
from pipeline.codecs.entropy import BIT_PLANES, CODES, CONSTANT, ENTROPY, RAW, VARINTS
from pipeline.codecs.marks import read_marks
from pipeline.codecs.predictors import Predictor
from pipeline.codecs.scaling import scale_down
from pipeline.codecs.sections import write_mask
from pipeline.codecs.series import read_part
from pipeline.codecs.streams import decode_stream, write_nested
from pipeline.errors import CorruptBlockError, InvalidInputError
from tests.codecs.block_columns import forced, hard_floats, same_bits, sensor, times, walk

WIDTHS = {
    RAW: (1, 2, 4, 8),
    CODES: (1, 2, 4, *range(8, 65, 8)),
    BIT_PLANES: (1, 3, 8, 9, 33, 64),
    VARINTS: (0,),
}

words = hnp.arrays(np.uint64, st.integers(1, 40))
narrow = st.builds(np.right_shift, words, st.integers(0, 63).map(np.uint64))


def encodable(residuals: NDArray[np.uint64], entropy: int, width: int) -> bool:
    bits = {RAW: 8 * width, BIT_PLANES: width}.get(entropy, 64)
    return bits >= int(residuals.max()).bit_length()


@pytest.mark.parametrize(
    ("entropy", "width"), [(stage, width) for stage, widths in WIDTHS.items() for width in widths]
)
@given(residuals=narrow)
def test_residuals_come_back(entropy: int, width: int, residuals: NDArray[np.uint64]) -> None:
    if not encodable(residuals, entropy, width):
        residuals = residuals >> np.uint64(63)
    with np.errstate(all="ignore"):
        body = ENTROPY[entropy].encode(residuals, width)
        cursor = Cursor(memoryview(body))
        assert np.array_equal(ENTROPY[entropy].decode(cursor, residuals.size), residuals)
    cursor.finish()


@pytest.mark.parametrize(("entropy", "width"), [(RAW, 1), (RAW, 4), (BIT_PLANES, 33)])
def test_widths_that_would_cut_residuals_are_refused(entropy: int, width: int) -> None:
    with pytest.raises(InvalidInputError, match="do not fit"):
        ENTROPY[entropy].encode(np.array([1, 2**33], np.uint64), width)


def test_constant_residuals() -> None:
    body = ENTROPY[CONSTANT].encode(np.full(9, 300, np.uint64), 0)
    assert len(body) == 2
    assert ENTROPY[CONSTANT].decode(Cursor(memoryview(body)), 9).tolist() == [300] * 9


@pytest.mark.parametrize("order", [0, 1, 2])
@given(numbers=hnp.arrays(np.uint64, st.integers(2, 40)), step=st.integers(-(2**63), 2**63 - 1),
       scale=st.integers(1, WORD), offset=st.integers(-(2**63), WORD))  # fmt: skip
def test_predictors_wrap_and_come_back(
    order: int, numbers: NDArray[np.uint64], step: int, scale: int, offset: int
) -> None:
    with np.errstate(all="ignore"):
        predictor, residuals = Predictor.forward(order, step, numbers)
        read = Predictor.read(order, Cursor(memoryview(predictor.write())), numbers.size)
        assert read == predictor
        assert residuals.size == numbers.size - order
        head = signed_varint(offset) + varint(scale) + predictor.write()
        body = head + (ENTROPY[CODES].encode(residuals, 64) if residuals.size else b"\0")
        stage = CODES if residuals.size else CONSTANT
        restored = decode_stream(order, stage, Cursor(memoryview(body)), numbers.size)
        expected = numbers * np.uint64(scale) + np.uint64(offset & WORD)
    assert np.array_equal(restored.view(np.uint64), expected)


@given(st.integers(1, 2**40), st.lists(st.integers(0, 2**20), min_size=1, max_size=50),
       st.integers(-(2**63), 0))  # fmt: skip
def test_the_scale_is_the_greatest_common_divisor(unit: int, counts: list[int], low: int) -> None:
    numbers = np.array([low + unit * count for count in counts], np.int64)
    with np.errstate(all="ignore"):
        scaled = scale_down(numbers)
    distances = [int(number) - int(numbers.min()) for number in numbers]
    divisor = int(np.gcd.reduce(np.array(distances, object)))
    assert scaled.offset == int(numbers.min())
    assert scaled.scale == max(1, divisor)
    assert [int(m) * scaled.scale for m in scaled.multiples] == distances


def test_a_divisor_that_few_rows_suggest_and_one_refutes() -> None:
    numbers = np.arange(2000, dtype=np.int64) * 720
    numbers[1001] += 30
    assert scale_down(numbers).scale == 30
    numbers[1003] += 1
    assert scale_down(numbers).scale == 1


@pytest.mark.parametrize("transform", ["image", "dictionary"])
@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("values", [times(3, 20), walk(60, "int8"), walk(60, "uint16"),
                                    sensor(60), hard_floats("float32"), hard_floats("float64"),
                                    walk(60, "int64") % 2 == 0], ids=str)  # fmt: skip
def test_combinations_of_stages(transform: str, order: int, values: NDArray[Any]) -> None:
    with np.errstate(all="ignore"):
        for entropy, width in ((CODES, 4), (CODES, 64), (BIT_PLANES, 64), (VARINTS, 0), (RAW, 8)):
            block = forced(values, transform, order, entropy, width)
            assert same_bits(decode_block(block).values, values)


@pytest.mark.parametrize("transform", ["decimal", "single"])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_decimals_under_every_predictor(transform: str, order: int) -> None:
    values = sensor(300)
    if transform == "single":
        values = values.astype(np.float32).astype(np.float64)
    block = forced(values, transform, order, CODES, 8)
    assert same_bits(decode_block(block).values, values)


@given(st.integers(0, WORD))
def test_numbers_between_streams(number: int) -> None:
    assert Cursor(memoryview(varint(number))).varint() == number
    assert Cursor(memoryview(signed_varint(number))).signed_varint() == as_signed(number)
    assert len(varint(number)) == max(1, -(-number.bit_length() // 7))


def marked(lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.repeat(np.arange(lengths.size) % 2 == 1, lengths)


@given(hnp.arrays(np.bool_, st.integers(1, 200)))
def test_masks_come_back(mask: NDArray[np.bool_]) -> None:
    body = write_mask(mask)
    assert len(body) <= mask.size // 8 + 8
    cursor = Cursor(memoryview(body))
    marks = read_marks(cursor, mask.size)
    assert np.array_equal(marked(marks.lengths), mask)
    start, stop = mask.size // 3, mask.size - mask.size // 4
    part = marks.part(start, stop)
    assert np.array_equal(marked(part.lengths), mask[start:stop])
    assert part.rows == stop - start
    assert part.marked == int(mask[start:stop].sum())
    cursor.finish()


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("order", [0, 1])
def test_nested_streams(rows: int, order: int) -> None:
    numbers = np.arange(rows, dtype=np.int64) * 7 - 3
    cursor = Cursor(memoryview(write_nested(numbers, order)))
    assert np.array_equal(read_part(cursor, rows).view(np.int64), numbers)


@pytest.mark.parametrize(
    "buffer",
    [b"", b"x", b"ab", bytes(100), bytes(range(256)), b"abcd" * 50, bytes(70_000), b"ab" * 40_000],
    ids=len,
)
def test_buffers(buffer: bytes) -> None:
    body = write_buffer(np.frombuffer(buffer, np.uint8))
    assert len(body) <= len(buffer) + 3
    cursor = Cursor(memoryview(body))
    assert read_buffer(cursor, len(buffer)).tobytes() == buffer
    cursor.finish()
    for wrong in {0, 1, len(buffer) - 1, len(buffer) + 1, 2**20} - {len(buffer), -1}:
        if body[0] & 3 != 2:
            with pytest.raises(CorruptBlockError, match="buffer"):
                read_buffer(Cursor(memoryview(body)), wrong)


def test_frames_that_do_not_hold_what_they_say() -> None:
    body = write_buffer(np.frombuffer(b"abcd" * 100, np.uint8))
    frame = bytearray(body[2:])
    for damage in (b"", frame[:1], frame[:2], frame[:5], frame[:-1], frame + b"x", frame + frame,
                   b"\x00" + frame[1:], b"\xe0" + frame[1:], b"\x03" + frame[1:]):  # fmt: skip
        data = varint(len(damage) << 2 | 1) + bytes(damage)
        with pytest.raises(CorruptBlockError, match="buffer of 400 bytes"):
            read_buffer(Cursor(memoryview(data)), 400)


@pytest.mark.parametrize(
    ("entropy", "body"),
    [
        (RAW, b"\x03" + bytes(15)),
        (RAW, b"\x08" + bytes(39)),
        (CODES, b"\x03\x00"),
        (CODES, b"\x00\x00"),
        (CODES, b"\x48\x00"),
        (CODES, b"\x08\x06" + bytes(20)),
        (BIT_PLANES, b"\x00"),
        (BIT_PLANES, b"\x41"),
        (VARINTS, varint(51)),
        (VARINTS, b"\x05" + varint(5 << 2) + b"\x01\x01\x01\x01\x81"),
        (VARINTS, b"\x06" + varint(6 << 2) + b"\x01\x01\x01\x01\x01\x01"),
        (VARINTS, b"\x0f" + varint(15 << 2) + b"\x01" * 4 + b"\x80" * 10 + b"\x01"),
        (CONSTANT, b"\x80" * 10 + b"\x01"),
        (CONSTANT, b""),
    ],
)
def test_residuals_that_cannot_be(entropy: int, body: bytes) -> None:
    with pytest.raises(CorruptBlockError):
        ENTROPY[entropy].decode(Cursor(memoryview(body)), 5)


def test_escapes_must_be_as_many_as_marked() -> None:
    residuals = np.array([1, 300, 2, 255, 3], np.uint64)
    body = ENTROPY[CODES].encode(residuals, 8)
    assert body[:2] == b"\x08\x02"
    one = ENTROPY[VARINTS].encode(np.array([45], np.uint64), 0)
    two = ENTROPY[VARINTS].encode(np.array([45, 0], np.uint64), 0)
    forged = body.replace(two, one).replace(b"\x08\x02", b"\x08\x01")
    with pytest.raises(CorruptBlockError, match="marks other escapes than the 1 it lists"):
        ENTROPY[CODES].decode(Cursor(memoryview(forged)), 5)


@pytest.mark.parametrize(
    "body",
    [
        b"\x07\x01",
        b"\x02\x03",
        b"\x02\x00" + varint(2 << 2) + b"\xff\x00",
        b"\x02\x01" + write_nested(np.array([1, 10]), 1),
        b"\x02\x01" + write_nested(np.array([-1, 1]), 1),
        b"\x02\x01" + write_nested(np.array([3, 3]), 1),
        b"\x02\x01" + b"\x03\x00" + sized(b"\x00\x01\x00"),
        b"\x02\x01" + b"\x00\x09" + sized(b"\x00\x01\x00"),
        b"\x02\x01" + b"\x00\x00" + sized(b"\x00\x01\x00\x00"),
        b"\xff\x01",
    ],
)
def test_masks_that_cannot_be(body: bytes) -> None:
    with pytest.raises(CorruptBlockError):
        read_marks(Cursor(memoryview(body)), 10)
