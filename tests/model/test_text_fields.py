from __future__ import annotations

import csv
import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.text_fields import match_fields, split_fields, split_line

cells = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=5).map(str.strip)


@given(st.lists(st.lists(cells, min_size=3, max_size=3)))
def test_what_a_csv_writer_wrote_is_read_again(rows: list[list[str]]) -> None:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)
    lines = pa.array(written.getvalue().splitlines(), pa.string())
    fields, good, reasons = split_fields(lines, ",", '"', 3)
    assert fields.to_pylist() == rows
    assert good.tolist() == list(range(len(rows)))
    assert reasons == {}


def test_lines_that_cannot_be_split_are_told_by_number() -> None:
    lines = pa.array(["a,b", "a", '"a,b', "a,b,c", '"x,y",b'])
    fields, good, reasons = split_fields(lines, ",", '"', 2)
    assert fields.to_pylist() == [["a", "b"], ["x,y", "b"]]
    assert good.tolist() == [0, 4]
    assert reasons[1] == "the line has 1 fields where 2 are expected"
    assert "quotes do not close" in reasons[2]
    assert list(reasons) == [2, 1, 3]


@pytest.mark.parametrize(
    ("separator", "quote", "line"),
    [(";", "", 'a;"b'), ("::", '"', 'a::"b'), ("whitespace", '"', ' a\t "b ')],
)
def test_separators_for_which_quotes_mean_nothing(separator: str, quote: str, line: str) -> None:
    fields, _, _ = split_fields(pa.array([line]), separator, quote, 2)
    assert fields.to_pylist() == [["a", '"b']]
    assert split_line(line, separator, quote) == ["a", '"b']


def test_named_groups_are_fields() -> None:
    lines = pa.array(["a=1", "?", "b=2"])
    columns, good, reasons = match_fields(lines, r"^(?P<key>\w)=(?P<value>\d)$")
    assert {name: column.to_pylist() for name, column in columns.items()} == {
        "key": ["a", "b"],
        "value": ["1", "2"],
    }
    assert good.tolist() == [0, 2]
    assert reasons == {1: "the line does not match the pattern"}
