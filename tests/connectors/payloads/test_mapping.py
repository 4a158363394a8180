"""The declared mapping: fields of messages to device, time, channels, tags."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import cbor2
import msgspec
import pytest

from pipeline.connectors.payloads import PayloadMapping, payload_format
from pipeline.errors import InvalidInputError
from tests.connectors.payloads.saying import RECEIVED, decode, reasons_of, rows_of, say

NUMBER = {"dtype": "float64"}


def mapping(**told: Any) -> dict[str, Any]:
    return {
        "device": "d",
        "time": {"columns": "at", "unit": "us"},
        "channels": {"v": NUMBER},
        **told,
    }


def from_json(documents: list[Any], **told: Any) -> Any:
    messages = [say("a/b", json.dumps(document)) for document in documents]
    return decode("json", {"mapping": mapping(**told)}, messages)


def values_of(values: list[Any], rule: dict[str, Any]) -> tuple[list[Any], list[str]]:
    documents = [{"d": "x", "at": 1, "v": value} for value in values]
    decoded = from_json(documents, channels={"v": rule, "w": NUMBER}, other_fields="reject")
    return decoded.table["v"].to_pylist(), reasons_of(decoded)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1.5, 2, 3.25], "float64", [1.5, 2.0, 3.25]),
        ([1.5, "2.5", " 3 "], "float64", [1.5, 2.5, 3.0]),
        ([21.3, 2], "float32", [pytest.approx(21.3, rel=1e-6), 2.0]),
        ([1, -1], "int8", [1, -1]),
        ([1.0, 2.0], "int64", [1, 2]),
        ([2**63 - 1, "5"], "int64", [2**63 - 1, 5]),
        ([2**64 - 1], "uint64", [2**64 - 1]),
        ([True, False], "bool", [True, False]),
        ([1, 0, "true"], "bool", [True, False, True]),
        (["on", "off", "on"], "category", ["on", "off", "on"]),
        ([1, 2.5, True, "x"], "category", ["1", "2.5", "true", "x"]),
    ],
)
def test_values_are_taken_as_the_channel_says(
    values: list[Any], dtype: str, expected: list[Any]
) -> None:
    assert values_of(values, {"dtype": dtype}) == (expected, [])


@pytest.mark.parametrize(
    ("good", "bad", "dtype", "reason"),
    [
        (1.5, True, "float64", "takes a number (float64), and 'true' is none"),
        (1.5, {"x": 1}, "float64", "is an object, not a single value"),
        (1.5, [1], "float64", "is an array, not a single value"),
        (1.5, "warm", "float64", "takes a number (float64), and 'warm' is none"),
        (1, 2.5, "int16", "takes whole numbers (int16), not 2.5"),
        (1, 40_000, "int16", "takes int16, from -32768 to 32767, and 40000 is outside"),
        (1, 2**70, "int64", "takes int64, from"),
        (1.0, 16_777_217, "float32", "would change 16777217"),
        (True, 2, "bool", "takes true or false, and '2' is none"),
        ("on", ["on"], "category", "is an array, not a single value"),
    ],
)
def test_a_value_that_does_not_fit_rejects_its_message_alone(
    good: Any, bad: Any, dtype: str, reason: str
) -> None:
    values, reasons = values_of([good, bad, good], {"dtype": dtype})
    assert values == [good, good]
    assert len(reasons) == 1
    assert reason in reasons[0]


def test_numbers_that_mean_nothing_are_missing_however_they_are_written() -> None:
    rule = {**NUMBER, "missing": ["-200", "none"]}
    assert values_of([1, -200, 2.5], rule)[0] == [1.0, None, 2.5]
    assert values_of([1.5, -200.0], rule)[0] == [1.5, None]
    assert values_of([1.5, "none", "-200"], rule)[0] == [1.5, None, None]
    assert values_of(["a", "none"], {"dtype": "category", "missing": ["none"]})[0] == ["a", None]


def test_scales_are_exact() -> None:
    assert values_of([2358, -7], {**NUMBER, "scale": 0.01})[0] == [23.58, -0.07]
    assert values_of([3.3, 1], {**NUMBER, "scale": 3})[0] == [9.9, 3.0]
    assert values_of(["0x20"], {"dtype": "int32", "base": 16})[0] == [32]


@pytest.mark.parametrize("writer", [msgspec.msgpack.encode, cbor2.dumps])
def test_binary_formats_keep_infinities_and_nan(writer: Any) -> None:
    name = "cbor" if writer is cbor2.dumps else "msgpack"
    told = [
        say("x", writer({"d": "x", "at": 1, "v": value})) for value in (float("inf"), float("nan"))
    ]
    values = decode(name, {"mapping": mapping()}, told).table["v"].to_pylist()
    assert values[0] == float("inf")
    assert values[1] != values[1]


def times_of(values: list[Any], writer: Any = None, **time: Any) -> tuple[list[int], list[str]]:
    told = {"time": {"columns": "at", **time}}
    documents = [{"d": "x", "at": value, "v": 1} for value in values]
    if writer is None:
        decoded = from_json(documents, **told)
    else:
        name = "cbor" if writer is cbor2.dumps else "msgpack"
        messages = [say("x", writer(document)) for document in documents]
        decoded = decode(name, {"mapping": mapping(**told)}, messages)
    return [row["time"] for row in rows_of(decoded)], reasons_of(decoded)


def test_times_of_every_kind() -> None:
    assert times_of([1, "2", 3], unit="ms")[0] == [1000, 2000, 3000]
    assert times_of([1.25, 2.5], unit="s")[0] == [1_250_000, 2_500_000]
    assert times_of([1, 2.5], unit="s")[0] == [1_000_000, 2_500_000]
    assert times_of(["1970-01-01T00:00:01Z"])[0] == [1_000_000]
    assert times_of(["05.01.2024 12:00"], unit="strptime", pattern="%d.%m.%Y %H:%M")[0]


def test_decimals_of_json_are_read_digit_by_digit_and_doubles_to_the_nearest() -> None:
    value = 1624227395.1366348
    assert "below the microsecond" in times_of([value], unit="s")[1][0]
    assert times_of([value], unit="s", subsecond="floor")[0] == [1_624_227_395_136_634]
    assert times_of([value], msgspec.msgpack.encode, unit="s") == ([1_624_227_395_136_635], [])


def test_times_with_a_type_of_their_own() -> None:
    stamps = [
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    ]
    expected = [1_704_067_200_000_000] * 2
    assert times_of(stamps, cbor2.dumps, unit="ms")[0] == expected
    assert times_of(stamps, msgspec.msgpack.encode)[0] == expected


@pytest.mark.parametrize(
    ("value", "time", "reason"),
    [
        (1700000000, {}, "time '1700000000' is not an ISO 8601 time"),
        (1.5, {}, "time '1.5' is not an ISO 8601 time"),
        (2**70, {"unit": "ns"}, "time '1180591620717411303424' "),
        (2**62, {"unit": "s"}, "too far from 1970"),
        (None, {}, "time is missing"),
        (True, {"unit": "s"}, "time 'true' is not a decimal number of seconds"),
        ([1], {"unit": "s"}, "time is an array, not a single value"),
        ({}, {}, "time is an object, not a single value"),
    ],
)
def test_times_that_cannot_be_read_are_told(value: Any, time: dict[str, Any], reason: str) -> None:
    times, reasons = times_of([value], **time)
    assert times == []
    assert reason in reasons[0]


def test_a_missing_time_may_be_the_receive_time_but_a_wrong_one_never_is() -> None:
    times, reasons = times_of([None, 5, [1], "x"], unit="us", missing="received")
    assert times == [RECEIVED, 5]
    assert len(reasons) == 2


def test_date_and_time_of_day_may_be_apart() -> None:
    document = {"d": "x", "date": "2024-01-05", "clock": "12:00:00", "v": 1}
    decoded = from_json(
        [document, {**document, "clock": None}], time={"columns": ["date", "clock"]}
    )
    assert [row["time"] for row in rows_of(decoded)] == [1_704_456_000_000_000]
    assert reasons_of(decoded) == ["time is missing"]


@pytest.mark.parametrize("bad", [None, "", {"x": 1}])
def test_a_device_has_to_have_an_id(bad: Any) -> None:
    decoded = from_json([{"d": bad, "at": 1, "v": 1}, {"d": 17, "at": 1, "v": 1}])
    assert [row["device"] for row in rows_of(decoded)] == ["17"]
    assert reasons_of(decoded)[0].startswith("device")


def test_a_constant_device() -> None:
    decoded = from_json([{"at": 1, "v": 1}], device={"constant": "only"})
    assert [row["device"] for row in rows_of(decoded)] == ["only"]


def test_records_within_documents_see_what_is_around_them() -> None:
    document = {
        "gw": {"id": "g1"},
        "out": {"list": [{"d": "x", "at": 1, "v": 1}, {"d": "y", "at": 2, "v": "z"}, 5]},
    }
    told = {"records": "out.list", "device": "{root/gw.id}-{d}"}
    decoded = from_json([document, {"out": {}}, [document]], **told)
    assert [row["device"] for row in rows_of(decoded)] == ["g1-x", "g1-x"]
    assert reasons_of(decoded) == [
        "2 of its 3 records are not stored, first: channel 'v' takes a number (float64), and 'z' is none",
        "there is no array of records at 'out.list'",
        "2 of its 3 records are not stored, first: channel 'v' takes a number (float64), and 'z' is none",
    ]
    assert (decoded.records, decoded.rejected) == (7, 5)


def test_records_may_be_arrays() -> None:
    documents = [[["x", 1, 1.5], ["y", 2, 2.5], ["z", 3]]]
    decoded = from_json(
        documents,
        device="0",
        time={"columns": "1", "unit": "us"},
        channels={"v": {**NUMBER, "column": "2"}},
    )
    assert [row["device"] for row in rows_of(decoded)] == ["x", "y"]
    assert "holds none of the channels ['2']" in reasons_of(decoded)[0]


def test_keys_with_dots_are_found_beside_nested_ones() -> None:
    documents = [
        {"d": "x", "at": 1, "a": {"b": 1}},
        {"d": "x", "at": 2, "a.b": 2},
        {"d": "x", "at": 3, "a": 5},
    ]
    decoded = from_json(documents, channels={"v": {**NUMBER, "column": "a.b"}})
    assert [row["v"] for row in rows_of(decoded)] == [1.0, 2.0]


def test_documents_without_the_channels_are_told_or_ignored() -> None:
    documents = [{"d": "x", "at": 1, "other": 1}, {"d": "x", "at": 2, "v": 3}, 7, []]
    told = from_json(documents)
    assert len(told.rejects) == 2
    ignored = from_json(documents, other_fields="ignore")
    assert (ignored.rejects, ignored.ignored, ignored.table.num_rows) == ((), 3, 1)


def test_tags_are_those_of_rows_that_are_stored() -> None:
    documents = [
        {"d": "x", "at": None, "v": 1, "fw": "1.0"},
        {"d": "x", "at": 1, "v": 1, "fw": "1.1"},
        {"d": "y", "at": 1, "v": 1},
    ]
    assert from_json(documents, tags=["fw"]).tags == {"x": {"fw": "1.1"}}


def long_form(documents: list[Any], **told: Any) -> Any:
    return from_json(
        documents,
        channel="q",
        value="v",
        channels={"t": NUMBER, "s": {"dtype": "category", "column": "state"}},
        **told,
    )


def test_values_of_one_device_and_time_become_one_row_in_order_of_arrival() -> None:
    decoded = long_form(
        [
            {"d": "b", "at": 9, "q": "t", "v": 1.5},
            {"d": "a", "at": 9, "q": "t", "v": 2.5},
            {"d": "b", "at": 9, "q": "state", "v": "ok"},
            {"d": "b", "at": 8, "q": "state", "v": "old"},
            {"d": "b", "at": 9, "q": "t", "v": 3.5},
            {"d": "b", "at": 9, "q": "state", "v": "new"},
        ]
    )
    assert rows_of(decoded) == [
        {"device": "b", "time": 9, "t": 1.5, "s": "ok"},
        {"device": "a", "time": 9, "t": 2.5},
        {"device": "b", "time": 8, "s": "old"},
        {"device": "b", "time": 9, "t": 3.5, "s": "new"},
    ]
    assert decoded.merged == 2


def test_the_long_form_tells_unknown_channels_and_bad_values() -> None:
    documents = [
        {"d": "a", "at": 1, "q": "pressure", "v": 1},
        {"d": "a", "at": 1, "q": None, "v": 1},
        {"d": "a", "at": 1, "q": "t", "v": "warm"},
        {"d": "a", "at": 1, "q": "t", "v": None},
        {"d": "a", "at": 1, "q": ["t"], "v": 1},
        {"d": "a", "at": 2, "q": "t", "v": 1},
    ]
    decoded = long_form(documents)
    assert (decoded.table.num_rows, decoded.rejected) == (1, 5)
    assert "channel 't' takes a number (float64), and 'warm' is none" in reasons_of(decoded)
    assert "channel field 'q' is an array, not a single value" in reasons_of(decoded)
    lax = long_form(documents, other_fields="ignore")
    assert (lax.ignored, lax.rejected) == (3, 2)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"channel": "q"}, "channel and value go together"),
        ({"topic": "a/{"}, "names in braces"),
        ({"device": "message/sender"}, r"fields \['message/sender'\]: of a message there are"),
        ({"time": {"columns": "message/received"}}, "stands alone and takes no unit but us"),
        ({"time": {"columns": "at", "unit": "weeks"}}, "unit"),
        ({"channels": {}}, "at least 1"),
        ({"channels": {"device": NUMBER}}, "device"),
        ({"colour": 1}, "Extra inputs"),
    ],
)
def test_mappings_that_cannot_be_are_refused(told: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        payload_format("json", {"mapping": mapping(**told)})


def test_a_mapping_survives_a_job_file() -> None:
    declared = PayloadMapping.model_validate(mapping(topic="a/{x}", tags=["x"]))
    again = PayloadMapping.model_validate_json(declared.model_dump_json(exclude_defaults=True))
    assert again == declared


def test_messages_are_written_whole_for_the_quarantine() -> None:
    told = [
        say("a", b"\xff\x00", key=b"\xfe", headers=(("h", b"\xfd"), ("g", "text"))),
        say("b", '{"d":', key=b"k"),
    ]
    decoded = decode("json", {"mapping": mapping()}, told)
    kept = decoded.quarantine("broker")
    assert kept.source == "broker"
    assert [json.loads(record) for record in kept.records] == [
        {
            "topic": "a",
            "received": "2023-11-14T22:13:20.000000Z",
            "payload_base64": "/wA=",
            "key_base64": "/g==",
            "headers": [{"name": "h", "value_base64": "/Q=="}, {"name": "g", "value": "text"}],
        },
        {"topic": "b", "received": "2023-11-14T22:13:20.000000Z", "payload": '{"d":', "key": "k"},
    ]
    assert kept.reasons == tuple(reasons_of(decoded))
    assert all(reason.startswith("the payload is not valid JSON: ") for reason in kept.reasons)
