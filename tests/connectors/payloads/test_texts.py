"""Payloads of text: JSON of several shapes, CSV, line protocol; and CBOR sequences beside them."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest

from pipeline.connectors.payloads import payload_format
from pipeline.errors import InvalidInputError
from tests.connectors.payloads.saying import RECEIVED, decode, reasons_of, rows_of, say

NUMBER = {"dtype": "float64"}
MAPPING: dict[str, Any] = {
    "topic": "s/{id}",
    "device": "id",
    "time": {"columns": "at", "unit": "us"},
    "channels": {"v": NUMBER},
}


def values_of(name: str, payload: bytes | str, **options: Any) -> list[Any]:
    decoded = decode(name, {"mapping": MAPPING, **options}, [say("s/a", payload)])
    return [row["v"] for row in rows_of(decoded)]


@pytest.mark.parametrize(
    "payload",
    [
        '[{"at":1,"v":1},{"at":2,"v":2}]',
        '{"at":1,"v":1}\n{"at":2,"v":2}',
        '{"at":1,"v":1}\r\n\r\n{"at":2,"v":2}\n',
        '\ufeff{"at":1,"v":1}\n{"at":2,"v":2}',
        '{"at":1,"v":1,\n',
    ],
)
def test_json_is_an_array_or_lines(payload: str) -> None:
    whole = payload.endswith(",\n")
    assert values_of("json", payload) == ([] if whole else [1.0, 2.0])


def test_one_object_with_a_byte_order_mark_is_read() -> None:
    assert values_of("json", '\ufeff{"at":1,"v":1}') == [1.0]


def test_a_line_that_is_no_json_does_not_take_its_neighbours_with_it() -> None:
    payload = '{"at":1,"v":1}\n{"at":2,"v":NaN}\n{"at":3,"v":3}'
    decoded = decode("json", {"mapping": MAPPING}, [say("s/a", payload)])
    assert [row["v"] for row in rows_of(decoded)] == [1.0, 3.0]
    (reject,) = decoded.rejects
    assert reject.message.payload == payload.encode()
    assert reject.records == 1
    assert "1 of its 3 records are not stored, first: the line is not valid JSON" in reject.reason


@pytest.mark.parametrize("payload", ['{"at":1', '{"at":1\n{"at":2,"v":2}', "", "\n", "[" * 100_000])
def test_what_is_no_json_is_kept(payload: str) -> None:
    decoded = decode("json", {"mapping": MAPPING}, [say("s/a", payload)])
    assert decoded.table.num_rows == 0
    assert reasons_of(decoded)[0].startswith("the payload is not valid JSON: ")


def test_a_cbor_sequence_is_a_batch_up_to_where_it_breaks() -> None:
    good = cbor2.dumps({"at": 1, "v": 1}) + cbor2.dumps({"at": 2, "v": 2})
    assert values_of("cbor", good) == [1.0, 2.0]
    decoded = decode("cbor", {"mapping": MAPPING}, [say("s/a", good + b"\xa1\x61")])
    assert (decoded.table.num_rows, decoded.rejected) == (2, 1)
    assert "an item is not valid CBOR" in reasons_of(decoded)[0]


def test_a_cbor_document_may_hold_itself() -> None:
    itself = bytes.fromhex("d81ca26261740161" + b"v".hex() + "d81d00")
    decoded = decode("cbor", {"mapping": MAPPING}, [say("s/a", itself)])
    assert reasons_of(decoded) == ["channel 'v' is an object, not a single value"]


CSV: dict[str, Any] = {"columns": ["at", "v"]}


def test_csv_lines_with_names_from_the_topic() -> None:
    assert values_of("csv", '1,"1.5"\r\n\r\n 2 , 2.5 ', **CSV) == [1.5, 2.5]
    assert values_of("csv", "1;1.5", **CSV, separator=";") == [1.5]


def test_csv_payloads_with_headers() -> None:
    told = [
        say("s/a", "at,v\n1,1.5\n2,2.5\n"),
        say("s/b", "v,at\n1.5,1\n"),
        say("s/c", 'at,"v\n1,2'),
        say("s/d", "at,v"),
    ]
    decoded = decode("csv", {"mapping": MAPPING, **CSV, "header": True}, told)
    assert [row["device"] for row in rows_of(decoded)] == ["a", "a"]
    assert [reject.records for reject in decoded.rejects] == [2, 2]
    assert "the header is 'v,at'; expected are the columns ('at', 'v')" in reasons_of(decoded)[0]
    assert decoded.ignored == 2


def test_csv_lines_that_cannot_be_read_are_told_by_message() -> None:
    told = [
        say("s/a", "1,2,3\n1,x\n5,5"),
        say("s/b", b"1,\xff"),
        say("s/c", ""),
        say("other", "1,1"),
        say("s/d", '6,"6'),
        say("s/e", "7,7"),
    ]
    decoded = decode("csv", {"mapping": MAPPING, **CSV}, told)
    assert [(row["device"], row["v"]) for row in rows_of(decoded)] == [("a", 5.0), ("e", 7.0)]
    assert [reject.message for reject in decoded.rejects] == told[:5]
    assert reasons_of(decoded)[1:] == [
        "the line is not valid utf-8",
        "the payload is empty",
        "the topic does not match 's/{id}'",
        "the line's quotes do not close properly (unexpected end of data)",
    ]
    assert "2 of its 3 records are not stored" in reasons_of(decoded)[0]


def test_a_bare_word_is_a_csv_of_one_column() -> None:
    options = {
        "columns": ["state"],
        "mapping": {
            "topic": "stat/{device}/POWER",
            "device": "device",
            "time": "message/received",
            "channels": {"power": {"dtype": "category", "column": "state"}},
        },
    }
    told = [say("stat/plug/POWER", "ON"), say("stat/plug/POWER", "OFF", RECEIVED + 1)]
    decoded = decode("csv", options, told)
    assert [row["power"] for row in rows_of(decoded)] == ["ON", "OFF"]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"columns": ["at", "at", "v"]}, r"columns \['at'\] occur more than once"),
        ({"columns": ["at"]}, r"the mapping needs \['v'\], which are not among"),
        ({"columns": []}, "at least 1"),
        ({"columns": ["at", "v"], "quote": "''"}, "quote"),
    ],
)
def test_csv_declarations_that_cannot_be_are_refused(told: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        payload_format("csv", {"mapping": MAPPING, **told})


TELEGRAF = (
    "cpu,cpu=cpu-total,host=gateway-7 usage_idle=97.35,usage_user=1.25 1700000000000000000\n"
    "mem,host=gateway-7 used_percent=41.5,total=4127195136i 1700000000000000000\n"
    "cpu,cpu=cpu-total usage_idle=96.5,usage_user=2 1700000010000000000\n"
    "cpu,cpu=cpu-total,host=gateway-8 usage_idle=50\n"
)


def test_telegraf_publishes_lines_and_topics_stand_in_for_tags() -> None:
    options = {
        "topic": "telegraf/{host}/#",
        "missing_time": "received",
        "mapping": {
            "measurements": ["cpu"],
            "device": "host",
            "tags": ["host"],
            "channels": {
                "idle": {**NUMBER, "column": "usage_idle"},
                "user": {**NUMBER, "column": "usage_user"},
            },
        },
    }
    told = [
        say("telegraf/gateway-9/cpu", TELEGRAF),
        say("elsewhere", TELEGRAF),
        say("telegraf/gateway-9/cpu", "cpu usage_idle=1 x\ncpu usage_idle=2 1700000000000000000"),
        say("telegraf/gateway-9/cpu", "cpu usage_idle=3", RECEIVED + 7),
        say("telegraf/gateway-9/cpu", ""),
    ]
    decoded = decode("line_protocol", options, told)
    assert rows_of(decoded) == [
        {"device": "gateway-7", "time": 1_700_000_000_000_000, "idle": 97.35, "user": 1.25},
        {"device": "gateway-9", "time": 1_700_000_010_000_000, "idle": 96.5, "user": 2.0},
        {"device": "gateway-8", "time": RECEIVED, "idle": 50.0},
        {"device": "gateway-9", "time": 1_700_000_000_000_000, "idle": 2.0},
        {"device": "gateway-9", "time": RECEIVED + 7, "idle": 3.0},
    ]
    assert decoded.ignored == 1
    assert [reject.message for reject in decoded.rejects] == [told[1], told[2], told[4]]
    assert "time 'x' is not a whole number" in reasons_of(decoded)[1]
    assert decoded.tags["gateway-9"] == {"host": "gateway-9"}
    assert payload_format("line_protocol", options).topic_template() == "telegraf/{host}/#"


def test_a_line_without_a_time_is_rejected_unless_declared() -> None:
    options = {"mapping": {"device": "host", "channels": {"x": NUMBER}}}
    decoded = decode("line_protocol", options, [say("t", "m,host=a x=1")])
    assert reasons_of(decoded) == ["time is missing"]


def test_a_line_protocol_topic_has_to_be_a_template() -> None:
    options = {"topic": "a/{", "mapping": {"device": "host", "channels": {"x": NUMBER}}}
    with pytest.raises(InvalidInputError, match="names in braces"):
        payload_format("line_protocol", options)


def test_csv_of_one_value_a_line_chosen_by_a_word() -> None:
    options = {
        "columns": ["kind", "at", "quantity", "value"],
        "mapping": {
            **MAPPING,
            "time": {"columns": "root/at", "unit": "us"},
            "where": {"kind": "data"},
            "channel": "quantity",
            "value": "value",
            "channels": {"v": NUMBER, "w": {"dtype": "int8"}},
        },
    }
    lines = "data,1,v,1.5\ninfo,1,boot,7\ndata,1,w,7\ndata,2,w,\ndata,3,w,300\n"
    decoded = decode("csv", options, [say("s/a", lines), say("s/b", "info,,,")])
    assert rows_of(decoded) == [{"device": "a", "time": 1, "v": 1.5, "w": 7}]
    assert (decoded.records, decoded.merged, decoded.ignored, decoded.rejected) == (6, 1, 2, 2)
