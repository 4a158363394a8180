from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.text_lines import decode_lines, find_noise


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))),
    st.booleans(),
)
def test_lines_are_the_lines_of_the_text(found: list[str], ends: bool) -> None:
    found = [*found, "last"]
    data = "\n".join(found).encode() + b"\n" * ends
    lines, spoiled = decode_lines(data, "utf-8")
    assert lines.to_pylist() == found
    assert not spoiled.any()


def test_line_ends_of_windows_are_no_part_of_the_line() -> None:
    assert decode_lines(b"a\r\nb\r\n\r\n", "utf-8")[0].to_pylist() == ["a", "b", ""]


def test_bytes_that_are_not_valid_spoil_only_their_line() -> None:
    lines, spoiled = decode_lines(b"ok\n\xff no\r\n\xc3\xa9\n", "utf-8")
    assert lines.to_pylist() == ["ok", r"\xff no", "é"]
    assert spoiled.tolist() == [False, True, False]
    assert decode_lines(b"caf\xe9\n", "latin-1")[0].to_pylist() == ["café"]
    assert decode_lines(b"a\n\x81\n", "cp1252")[1].tolist() == [False, True]
    assert decode_lines(b"a\n\xe9\n", "ascii")[1].tolist() == [False, True]


def test_declared_noise() -> None:
    lines = pa.array(["", " \t", "# x", " # y", "boot", "a,1"])
    assert find_noise(lines, "", "").tolist() == [True, True, False, False, False, False]
    assert find_noise(lines, "#", "^boo").tolist() == [True] * 5 + [False]
