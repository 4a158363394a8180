"""Values and times of line protocol, as they are written, to those of channels."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.connectors.line_protocol.grammar import unescape_text
from pipeline.connectors.mapping import ChannelMapping, read_channel
from pipeline.model.arrow_arrays import null_mask
from pipeline.model.exact_casts import cast_exactly, explain_cast

__all__ = ["read_field", "read_integers"]

_BOOLS: Final = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), False),
}
_PLAIN_END: Final = np.isin(np.arange(256), list(b"0123456789."))
_PLAIN_START: Final = np.isin(np.arange(256), list(b"0123456789.-"))
_WHOLE: Final = r"^-?[0-9]{1,20}$"

Reasons = dict[int, str]


def read_field(texts: pa.Array, rule: ChannelMapping) -> tuple[pa.Array, Reasons]:
    """Read the values of a field as those of a channel.

    Parameters
    ----------
    texts
        ``string``, shape (rows,): as written, such as ``7i``; null is missing.
    rule
        The channel.

    Returns
    -------
    values
        Of the channel's Arrow type, shape (rows,).
    reasons
        Why, for values that the channel does not take, by row; the words follow its name.
    """
    if rule.dtype == "category":
        return _read_distinct(texts, rule, '"text" in quotes', _text)
    if rule.dtype == "bool":
        return _read_distinct(texts, rule, "true or false", _BOOLS.get)
    return _read_numbers(texts, rule)


def _text(written: str) -> str | None:
    quoted = len(written) >= 2 and written[0] == written[-1] == '"'
    return unescape_text(written) if quoted else None


def _read_distinct(
    texts: pa.Array, rule: ChannelMapping, want: str, read: Any
) -> tuple[pa.Array, Reasons]:
    """Read each distinct value once: texts and states are few."""
    encoded = texts.dictionary_encode()
    written = encoded.dictionary.to_pylist()
    values = [read(text) for text in written]
    bad = {code for code, value in enumerate(values) if value is None}
    known = [None if value in rule.missing else value for value in values]
    kind = pa.string() if rule.dtype == "category" else pa.bool_()
    column = pa.array(known, kind).take(encoded.indices)
    if rule.dtype == "category":
        column = column.dictionary_encode()
    if not bad:
        return column, {}
    codes = np.asarray(encoded.indices.fill_null(-1))
    rows = np.flatnonzero(np.isin(codes, list(bad))).tolist()
    return column, {row: f"takes {want}, and {written[codes[row]]} is none" for row in rows}


def _read_numbers(texts: pa.Array, rule: ChannelMapping) -> tuple[pa.Array, Reasons]:
    present = ~_nulls(texts)
    first, last = _outer_bytes(texts)
    signed, unsigned = last == ord("i"), last == ord("u")
    odd = present & ~((_PLAIN_END[last] | signed | unsigned) & _PLAIN_START[first])
    odd |= unsigned & (first == ord("-"))
    if not odd.any() and not (signed | unsigned)[present].any():
        return read_channel(texts, rule)
    whole = (signed | unsigned) & present & ~odd
    digits = pc.if_else(pa.array(whole), pc.utf8_slice_codeunits(texts, 0, -1), None)
    plain = texts if not (whole | odd).any() else pc.if_else(pa.array(whole | odd), None, texts)
    if rule.scale is not None or rule.missing:
        _, bad = read_integers(digits)
        odd |= bad
        values, reasons = read_channel(pc.coalesce(digits, plain), rule)
    elif present.any() and whole[present].all():
        values, reasons = _read_whole(digits, rule.dtype)
    else:
        values, reasons = read_channel(plain, rule)
        wholes, others = _read_whole(digits, rule.dtype)
        values, reasons = pc.coalesce(values, wholes), reasons | others
    rows = np.flatnonzero(odd)
    words = texts.take(pa.array(rows)).to_pylist()
    want = f"takes a number ({rule.dtype}), and"
    return values, reasons | {
        int(row): f"{want} {word} is none" for row, word in zip(rows, words, strict=True)
    }


def _read_whole(digits: pa.Array, dtype: str) -> tuple[pa.Array, Reasons]:
    """Read integers into a channel of any numbers, unless it cannot hold them exactly."""
    whole, bad = read_integers(digits)
    values, inexact = cast_exactly(whole, dtype)
    reasons = {}
    for row in np.flatnonzero(bad if inexact is None else bad | inexact).tolist():
        text = digits[row].as_py()
        if bad[row]:
            reasons[row] = f"takes a number ({dtype}), and {text!r} is no integer of 64 bits"
        else:
            reasons[row] = explain_cast(int(text), dtype)
    return pc.if_else(digits.is_valid(), pa.array(values), None), reasons


def read_integers(texts: pa.Array) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read decimal integers.

    Parameters
    ----------
    texts
        ``string``, shape (rows,).

    Returns
    -------
    values
        ``int64``, or ``uint64`` if one is too large for that and none is negative; shape (rows,).
    bad
        Bool, shape (rows,): texts that are no such integers; null is not bad.
    """
    none = np.zeros(len(texts), bool)
    plain = texts
    for kind in (pa.int64(), pa.uint64()):
        try:
            if not _has_letter_x(texts):  # Arrow takes hexadecimal numbers too
                return np.asarray(texts.cast(kind).fill_null(0)), none
        except pa.ArrowInvalid:
            continue
    good = pc.match_substring_regex(texts, _WHOLE).fill_null(False)
    plain = pc.if_else(good, texts, None)
    numbers = [None if text is None else int(text) for text in plain.to_pylist()]
    fits = [n is not None and -(2**63) <= n < 2**63 for n in numbers]
    values = np.array([n if fit else 0 for n, fit in zip(numbers, fits, strict=True)], np.int64)
    return values, ~np.array(fits, bool) & ~_nulls(texts)


def _has_letter_x(texts: pa.Array) -> bool:
    _, data = _buffers(texts)
    return bool(((data | 0x20) == ord("x")).any())


def _nulls(texts: pa.Array) -> NDArray[np.bool_]:
    mask = null_mask(texts)
    return np.zeros(len(texts), bool) if mask is None else np.asarray(mask)


def _buffers(texts: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    _, ends, data = texts.buffers()
    offsets = np.frombuffer(ends, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    raw = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return offsets, raw[offsets[0] : offsets[-1]] if len(offsets) else raw


def _outer_bytes(texts: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the first and the last byte of every text; 0 for null ones."""
    offsets, data = _buffers(texts)
    first, last = np.zeros((2, len(texts)), np.uint8)
    some = np.flatnonzero(np.diff(offsets))
    at = offsets - offsets[0]
    first[some], last[some] = data[at[:-1][some]], data[at[1:][some] - 1]
    return first, last
