"""Decoded messages go into a fleet as they are, and mean what a file of them means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

import pipeline
from pipeline.connectors.json_documents import JsonFragment, JsonSource
from pipeline.connectors.mapping import RowMapping
from tests.connectors.payloads.saying import decode, say

CHANNELS: dict[str, Any] = {
    "t": {"dtype": "float64", "units": "degC"},
    "n": {"dtype": "int16"},
    "on": {"dtype": "bool"},
    "state": {"dtype": "category"},
}


def test_rows_and_tags_and_rejects_are_stored(tmp_path: Path) -> None:
    schema = pipeline.Schema(
        [
            pipeline.Channel(name, rule["dtype"], units=rule.get("units", ""))
            for name, rule in CHANNELS.items()
        ]
    )
    rooms = pipeline.Archive.create(tmp_path / "archive").create_fleet("rooms", schema)
    mapping = {
        "topic": "{site}/{device}",
        "device": "device",
        "tags": ["site"],
        "time": {"columns": "at", "unit": "ms"},
        "channels": CHANNELS,
    }
    told = [
        say("ghent/a", '{"at": 1700000000000, "t": 21.5, "on": true, "state": "ok"}'),
        say("ghent/a", '[{"at": 1700000001000, "n": 7}, {"at": 1700000002000, "n": 40000}]'),
        say("ghent/b", "{"),
    ]
    decoded = decode("json", {"mapping": mapping}, told)
    result = rooms.append(decoded.table, tags=decoded.tags)
    assert (result.rows, result.quarantined) == (2, 0)
    rows = rooms.read().read_all().to_pylist()
    assert [(row["device"], row["t"], row["n"], row["on"], row["state"]) for row in rows] == [
        ("a", 21.5, None, True, "ok"),
        ("a", None, 7, None, None),
    ]
    kept = decoded.quarantine("mqtt")
    assert [json.loads(record)["payload"] for record in kept.records] == [
        m.payload.decode() for m in told[1:]
    ]


documents = st.fixed_dictionaries(
    {"d": st.sampled_from(["a", "b", 7, ""])},
    optional={
        "at": st.integers(0, 2_000_000_000_000)
        | st.floats(0, 2e12)
        | st.sampled_from(["1", "x", ""]),
        "t": st.floats(allow_nan=False)
        | st.integers(-(2**53), 2**53)
        | st.sampled_from(["2.5", "x", True]),
        "n": st.integers(-40_000, 40_000) | st.sampled_from([1.5, 2.0, "3", None]),
        "on": st.booleans() | st.sampled_from([0, 1, "true", "maybe"]),
        "state": st.text("abc ", min_size=1, max_size=2) | st.sampled_from([1, 2.5, False]),
    },
).map(
    lambda document: {k: v for k, v in document.items() if v not in (float("inf"), float("-inf"))}
)


@given(st.lists(documents, max_size=8))
@example([{"d": "a", "at": 1_700_000_000_000.25}])
@example([{"d": "a", "at": 1e16}, {"d": "a", "at": 5e-7}])
def test_live_messages_mean_what_a_file_of_them_means(made: list[dict[str, Any]]) -> None:
    lines = [json.dumps(document) for document in made]
    mapping = {"device": "d", "time": {"columns": "at", "unit": "ms"}, "channels": CHANNELS}
    live = decode("json", {"mapping": mapping}, [say("x", line) for line in lines])
    file = JsonSource("unread", RowMapping.model_validate(mapping))
    fragment = JsonFragment(file, "unread")
    stored = fragment._intake(lines)
    assert plain(live.table) == plain(stored.table)
    assert [reject.message.payload.decode() for reject in live.rejects] == list(
        stored.rejects.records
    )


def plain(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.set_column(
        1, "time", table["time"].cast(pa.int64())
    ).to_pylist()
    return rows
