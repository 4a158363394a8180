from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.connectors.json_documents import JsonSource, array_elements
from pipeline.connectors.mapping import RowMapping
from pipeline.errors import InvalidInputError
from pipeline.model.ports import Fragment, Source

MAPPING = RowMapping.model_validate(
    {
        "device": "{site}/{payload.node-id}",
        "time": "payload.at",
        "channels": {
            "t": {"column": "payload.t", "dtype": "float64", "scale": 0.01},
            "open": {"column": "payload.open", "dtype": "bool"},
            "first": {"column": "samples.0", "dtype": "int8"},
        },
    }
)


def message(**more: Any) -> dict[str, Any]:
    payload = {"node-id": "n1", "at": "2024-01-01T00:00:00Z", "t": 2150, **more}
    return {"site": "s", "payload": payload}


def read_all(folder: Path, text: str | bytes, **options: Any) -> tuple[pa.Table, Any, int]:
    path = folder / "data.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    found = JsonSource(path, MAPPING, **options)
    intakes = [intake for fragment in found.fragments() for intake in fragment.read()]
    empty = found.arrow_schema().empty_table()
    rows = pa.concat_tables([empty, *(i.table for i in intakes)]).unify_dictionaries()
    pairs = [p for i in intakes for p in zip(i.rejects.records, i.rejects.reasons, strict=True)]
    return rows, pairs, sum(intake.ignored for intake in intakes)


@pytest.mark.parametrize("indent", [None, 4])
def test_an_array_and_lines_hold_the_same_rows(tmp_path: Path, indent: int | None) -> None:
    documents = [message(), message(open=True), {**message(t=None), "samples": [5, 6]}]
    array = read_all(tmp_path, json.dumps(documents, indent=indent))
    lines = read_all(tmp_path, "\n".join(json.dumps(document) for document in documents))
    assert array[0].equals(lines[0])
    rows = array[0]
    assert rows["device"].to_pylist() == ["s/n1"] * 3
    assert rows["t"].to_pylist() == [21.5, 21.5, None]
    assert rows["open"].to_pylist() == [None, True, None]
    assert rows["first"].to_pylist() == [None, None, 5]
    assert array[1:] == lines[1:] == ([], 0)


BAD: list[tuple[str, str]] = [
    ('{"site": "s", "payload": {"t": 1,}}', "not valid JSON"),
    ('{"site": NaN}', "not valid JSON: NaN"),
    ("7", "not a JSON object"),
    (json.dumps(message(t="warm")), "channel 't' takes a number"),
    (json.dumps(message(t=[1])), "hold objects or arrays"),
    (json.dumps(message(at="noon")), "'noon' is not an ISO 8601 time"),
    (json.dumps(message(t=None)), "holds none of the members"),
    (json.dumps({**message(), "site": None}), "device is missing"),
    (json.dumps({**message(), "samples": [300]}), "300 is outside"),
    (json.dumps({**message(), "site": "\ud800"}), "not valid Unicode"),
]


@pytest.mark.parametrize("start", ["[", ""])
def test_bad_documents_are_kept_whole_and_spare_their_neighbours(
    tmp_path: Path, start: str
) -> None:
    good = json.dumps(message())
    texts = [good, *(text for text, _ in BAD), good]
    text = "[" + ",\n".join(texts) + "]" if start else "\n".join(texts)
    rows, rejects, _ = read_all(tmp_path, text)
    assert rows.num_rows == 2
    assert [record for record, _ in rejects] == [text for text, _ in BAD]
    assert all(words in why for (_, words), (_, why) in zip(BAD, rejects, strict=True))


def test_bytes_that_are_no_utf8_reject_their_document(tmp_path: Path) -> None:
    good = json.dumps(message()).encode()
    rows, rejects, _ = read_all(tmp_path, good + b'\n{"site": "\xff"}\n' + good)
    assert rows.num_rows == 2
    assert rejects[0][0] == r'{"site": "\xff"}'


def test_a_truncated_array_keeps_what_came_before(tmp_path: Path) -> None:
    text = json.dumps([message(), message(), message()])
    rows, rejects, _ = read_all(tmp_path, text[:-20])
    assert rows.num_rows == 2
    assert len(rejects) == 1
    assert text[:-20].endswith(rejects[0][0])


def test_other_kinds_of_messages_are_ignored_by_declaration(tmp_path: Path) -> None:
    documents = [message(), {"topic": "alarm"}, {**message(), "topic": "t", "retain": False}]
    rows, rejects, ignored = read_all(
        tmp_path, json.dumps(documents), where={"topic": "t", "retain": "false"}
    )
    assert (rows.num_rows, rejects, ignored) == (1, [], 2)


def test_blank_lines_marks_and_empty_files(tmp_path: Path) -> None:
    line = json.dumps(message())
    rows, rejects, ignored = read_all(tmp_path, f"\ufeff{line}\r\n\r\n{line}\n")
    assert (rows.num_rows, rejects, ignored) == (2, [], 1)
    assert read_all(tmp_path, "")[0].num_rows == 0
    assert read_all(tmp_path, "\ufeff [ ]")[0].num_rows == 0


def test_keys_that_have_dots_and_members_that_are_not_there(tmp_path: Path) -> None:
    document = message()
    document["payload.node-id"] = "direct"
    document["samples"] = {"0": "7"}
    rows, _, _ = read_all(tmp_path, json.dumps([document]))
    assert rows["device"].to_pylist() == ["s/direct"]
    assert rows["first"].to_pylist() == [7]
    document["samples"] = []
    assert read_all(tmp_path, json.dumps([document]))[0]["first"].to_pylist() == [None]


def test_compressed_files_and_workers(tmp_path: Path) -> None:
    path = tmp_path / "data.json.gz"
    path.write_bytes(gzip.compress(json.dumps([message()]).encode()))
    found = JsonSource(path, MAPPING)
    fragment = pickle.loads(pickle.dumps(found.fragments()[0]))
    assert isinstance(found, Source)
    assert isinstance(fragment, Fragment)
    assert fragment.name == str(path)
    assert next(fragment.read()).table.num_rows == 1
    assert found.tags() == {}


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.lists(documents), st.integers(1, 20), st.sampled_from([None, 1]))
def test_elements_of_any_array_cut_anywhere(
    found: list[Any], size: int, indent: int | None
) -> None:
    text = json.dumps(found, indent=indent, ensure_ascii=False)
    chunks = (text[at : at + size] for at in range(0, len(text), size))
    assert [json.loads(element) for element in array_elements(chunks)] == found


def test_what_follows_the_array_is_not_lost() -> None:
    assert list(array_elements(iter(['[1, 2] and more "text"']))) == ["1", "2", 'and more "text"']
    assert list(array_elements(iter(["[1]]", " 2"]))) == ["1", "2"]


def test_documents_without_an_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="longer than"):
        read_all(tmp_path, "[" + " " * 20_000_000)
    with pytest.raises(InvalidInputError, match="longer than"):
        read_all(tmp_path, "{" + " " * 20_000_000)


@pytest.mark.parametrize("piece_bytes", [1, 50, 333, 10**9])
def test_lines_in_pieces_are_each_read_once(tmp_path: Path, piece_bytes: int) -> None:
    path = tmp_path / "data.ndjson"
    mapping = RowMapping.model_validate(
        {"device": "d", "time": {"columns": "at", "unit": "s"}, "channels": {"n": {"dtype": "int32"}}}
    )  # fmt: skip
    lines = [json.dumps({"d": "é" * (at % 5 + 1), "at": at, "n": at}) for at in range(40)]
    path.write_text("\ufeff" + "\n".join(lines))
    fragments = JsonSource(path, mapping, piece_bytes=piece_bytes).fragments()
    assert (len(fragments) > 1) == (piece_bytes < 10**9)
    intakes = [intake for fragment in fragments for intake in fragment.read()]
    assert [n for intake in intakes for n in intake.table["n"].to_pylist()] == list(range(40))
    assert not any(len(intake.rejects) for intake in intakes)


def test_one_array_is_never_cut(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps([message()] * 9))
    (fragment,) = JsonSource(path, MAPPING, piece_bytes=10).fragments()
    assert fragment.name == str(path)
    assert sum(intake.table.num_rows for intake in fragment.read()) == 9
    with pytest.raises(InvalidInputError, match="piece_bytes"):
        JsonSource(path, MAPPING, piece_bytes=0)
