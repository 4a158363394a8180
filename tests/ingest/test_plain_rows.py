"""Rows of plain columns are the rows that Arrow makes of them, in the log and in the archive."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest import row_messages
from pipeline.ingest.entries import NO_NOTE, message_of, read_entry, write_entry
from pipeline.ingest.held import table_of
from pipeline.ingest.intake import Intake
from pipeline.ingest.plain_rows import PlainForm, PlainRows
from pipeline.ingest.row_messages import RowMessages
from pipeline.ingest.text_codes import TextCodes
from pipeline.schema.channels import Channel, Schema
from tests.support import minutes

_NUMBERS = ("float64", "float32", "int8", "uint16", "int32", "uint64")
SCHEMA = Schema(
    [*(Channel(name, name) for name in _NUMBERS), Channel("b", "bool"), Channel("c", "category")]
)
ARROW = Intake(SCHEMA).arrow


@st.composite
def batches(draw: st.DrawFn) -> dict[str, Any]:
    """Return plain columns, some of them left out."""
    rows = draw(st.integers(1, 20))
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
    data: dict[str, Any] = {
        "device": draw(
            st.lists(st.sampled_from(["a", "bé", "日本"]), min_size=rows, max_size=rows)
        ),
        "time": minutes(*chance.integers(0, 5000, rows).tolist()),
        "b": chance.random(rows) < 0.5,
        "c": draw(st.lists(texts, min_size=rows, max_size=rows)),
    }
    for name in _NUMBERS:
        bits = chance.bytes(rows * np.dtype(name).itemsize)
        data[name] = np.frombuffer(bits, name).copy()
    left_out = draw(st.sets(st.sampled_from([*_NUMBERS, "b", "c"])))
    return {name: column for name, column in data.items() if name not in left_out}


def by_arrow(data: dict[str, Any]) -> pa.RecordBatch:
    rows = len(data["time"])
    columns = [
        pa.array(data[one.name]).cast(one.type) if one.name in data else pa.nulls(rows, one.type)
        for one in ARROW
    ]
    return pa.RecordBatch.from_arrays(columns, schema=ARROW)


def same(found: pa.RecordBatch, expected: pa.RecordBatch) -> bool:
    """Tell whether rows are alike bit for bit."""
    found.validate(full=True)
    return bool(message_of(_bits(found)) == message_of(_bits(expected)))


def _bits(batch: pa.RecordBatch) -> pa.RecordBatch:
    # Written by Arrow anew: what stands at missing rows may differ.
    return pa.table(batch.to_pydict(), schema=batch.schema).combine_chunks().to_batches()[0]


@given(data=st.lists(batches(), min_size=1, max_size=5))
def test_what_is_held_and_what_is_logged_are_the_rows(data: list[dict[str, Any]]) -> None:
    intake = Intake(SCHEMA)
    taken = [intake.take(one) for one in data]
    assert all(isinstance(one.held, PlainRows) for one in taken)
    for one, given_data in zip(taken, data, strict=True):
        expected = by_arrow(given_data)
        payload = memoryview(b"".join(write_entry(one.message, NO_NOTE)))
        assert same(one.rows, expected)
        assert same(read_entry(payload, intake.arrow)[0], expected)
        assert [intake.devices[code] for code in one.codes.tolist()] == given_data["device"]
        assert one.bounds == (int(one.time.min()), int(one.time.max()))
    joined = table_of(one.held for one in taken)
    expected = pa.Table.from_batches([by_arrow(one) for one in data]).combine_chunks()
    assert same(joined.to_batches()[0], expected.to_batches()[0])


def test_rows_of_all_kinds_are_joined_in_order() -> None:
    intake = Intake(SCHEMA)
    plain = {"device": ["a", "b"], "time": minutes(0, 1), "c": ["x", "y"]}
    kinds = [plain, plain | {"c": ["z", None]}, plain, plain]
    taken = [intake.take(one) for one in kinds]
    assert [isinstance(one.held, PlainRows) for one in taken] == [True, False, True, True]
    joined = table_of(one.held for one in taken)
    assert joined["c"].to_pylist() == ["x", "y", "z", None, "x", "y", "x", "y"]
    assert joined.schema.field("device").type == pa.string()


@pytest.mark.parametrize(
    "change",
    [
        {"device": ["a", 5]},
        {"device": ["a", []]},
        {"device": ["a", "\ud800"]},
        {"device": ["a"]},
        {"device": ("a", "b")},
        {"time": minutes(0, 1).tolist()},
        {"float64": np.array([1, 2])},
        {"float64": np.ma.MaskedArray([1.5, 2.5], [True, False])},
        {"float64": np.array([1.5, 2.5], ">f8")},
        {"float64": np.array([[1.5], [2.5]])},
        {"unknown": np.array([1.5, 2.5])},
    ],
)
def test_what_is_not_plain_is_left_to_others(change: dict[str, Any]) -> None:
    form = PlainForm.of(ARROW, TextCodes(empty=False))
    assert form is not None
    data = {"device": ["a", "b"], "time": minutes(0, 1), "float64": np.array([1.5, 2.5])}
    assert form.take(data) is not None
    assert form.take(data | change) is None
    assert form.take({name: data[name] for name in ("time", "float64")}) is None


class Impostor:
    """Equals a text and has its hash, but is none."""

    def __eq__(self, other: object) -> bool:
        return other == "a"

    def __hash__(self) -> int:
        return hash("a")


def test_what_only_equals_a_text_has_no_code() -> None:
    codes = TextCodes()
    assert codes.encode(["a", ""]) is not None
    assert codes.encode([Impostor(), "a"]) is None
    assert codes.encode(["a", []]) is None
    assert codes.encode(["new", []]) is None
    with pytest.raises(ValueError, match="texts are needed"):
        codes.codes_of(["\ud800"])


def test_texts_that_do_not_come_again_are_not_kept_in_mind() -> None:
    codes = TextCodes(most=2)
    assert codes.encode(["a", "b", "a"]) is not None
    assert codes.encode(["b", "c"]) is None
    assert codes.encode(["b"]) is not None
    assert len(codes) == 2


def test_threads_agree_about_codes() -> None:
    codes = TextCodes()
    found: list[list[int]] = []
    texts = [f"device {number}" for number in range(5000)]

    def ask() -> None:
        found.append([int(codes.codes_of(texts[at : at + 7])[0]) for at in range(len(texts))])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [found[0]] * 4
    assert [codes[code] for code in found[0]] == texts
    assert len(codes) == len(texts)
    assert codes.get("device 7") == found[0][7]
    assert codes.get("another") is None


def test_messages_are_not_made_where_arrow_makes_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RowMessages.of(ARROW) is not None
    monkeypatch.setattr(row_messages, "_places", lambda *_: [])
    assert RowMessages.of(ARROW) is None
    monkeypatch.undo()
    monkeypatch.setattr(RowMessages, "message", lambda *_: b"")
    assert RowMessages.of(ARROW) is None
    monkeypatch.setattr(RowMessages, "of", lambda _: None)
    intake = Intake(SCHEMA)
    taken = intake.take({"device": ["a", "b"], "time": minutes(0, 1)})
    assert isinstance(taken.held, pa.RecordBatch)
    assert taken.codes.tolist() == [0, 1]


def test_heads_of_messages_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_messages, "_MOST_FRAMES", 3)
    intake = Intake(Schema([Channel("v", "float64")]))
    for rows in range(1, 9):
        data = {"device": ["a"] * rows, "time": minutes(*range(rows)), "v": np.arange(rows) / 2}
        taken = intake.take(data)
        assert isinstance(taken.held, PlainRows)
        assert message_of(taken.rows) == taken.message
        assert len(taken.held.form.messages._frames) <= 3
