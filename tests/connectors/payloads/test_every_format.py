"""What holds for every payload format: readings are read again, and bytes of strangers are kept."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.connectors.payloads import (
    PAYLOAD_FORMATS,
    Decoder,
    Message,
    PayloadFormat,
    payload_format,
)
from pipeline.errors import InvalidInputError, MissingDependencyError, NotFoundError
from tests.connectors.payloads.kinds import OPTIONS, WRITERS
from tests.connectors.payloads.saying import check_sums, decode, rows_of, say

FORMATS = sorted(PAYLOAD_FORMATS)
TOPIC = dict.fromkeys(FORMATS, "s/{}") | {"sparkplug_b": "spBv1.0/g/DDATA/n/{}"}

readings = st.fixed_dictionaries(
    {"at": st.integers(1_000_000_000_000, 4_000_000_000_000)},
    optional={
        "t": st.floats(allow_nan=False, allow_infinity=False),
        "n": st.integers(-(2**31), 2**31 - 1),
    },
).filter(lambda reading: len(reading) > 1)


def decoder_of(name: str) -> Decoder:
    return payload_format(name, OPTIONS[name]).decoder()


@pytest.mark.parametrize("name", FORMATS)
@given(st.lists(st.tuples(st.sampled_from("abc"), readings), max_size=6))
def test_readings_that_are_written_are_read_again(
    name: str, told: list[tuple[str, dict[str, Any]]]
) -> None:
    messages = [say(TOPIC[name].format(who), WRITERS[name](reading)) for who, reading in told]
    decoded = decoder_of(name).decode(messages)
    check_sums(decoded)
    assert decoded.rejects == ()
    expected = [
        {"device": who, "time": reading["at"] * 1000}
        | {k: v for k, v in reading.items() if k != "at"}
        for who, reading in told
    ]
    found = rows_of(decoded)
    if decoded.merged:  # records of one device and time are one row in the long form
        assert len(found) < sum(len(reading) - 1 for _, reading in told) + 1
        values = [(r["device"], r["time"], k, r[k]) for r in found for k in ("t", "n") if k in r]
        wanted = [(r["device"], r["time"], k, r[k]) for r in expected for k in ("t", "n") if k in r]
        assert sorted(values) == sorted(wanted)
    else:
        assert found == expected


payloads = st.binary(max_size=60) | st.sampled_from(
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"[[]]",
        b"[null]",
        b"\n",
        b"\xff",
        b"[" * 5000,
        b'{"at":1}',
        b"\0",
    ]
)


@pytest.mark.parametrize("name", FORMATS)
@given(st.lists(st.tuples(st.sampled_from(["s/a", "s/b", "x", "spBv1.0/g/DDATA/n/d"]), payloads)))
def test_bytes_of_strangers_are_kept_whole(name: str, told: list[tuple[str, bytes]]) -> None:
    messages = [Message(topic, payload, 5) for topic, payload in told]
    decoded = decoder_of(name).decode(messages)
    check_sums(decoded)
    assert decoded.records >= len({id(reject.message) for reject in decoded.rejects})
    assert all(reject.message in messages and reject.reason for reject in decoded.rejects)
    assert len(decoded.quarantine()) == len(decoded.rejects)


@pytest.mark.parametrize("name", FORMATS)
@given(readings, st.data())
def test_spoiled_readings_take_no_other_message_with_them(
    name: str, reading: dict[str, Any], data: st.DataObject
) -> None:
    good = WRITERS[name](reading)
    at = data.draw(st.integers(0, len(good) - 1))
    spoiled = data.draw(
        st.sampled_from([good[:at], good[:at] + b"\xff" + good[at + 1 :], good + good[:at]])
    )
    topic = TOPIC[name].format("a"), TOPIC[name].format("b")
    alone = rows_of(decoder_of(name).decode([say(topic[1], good)]))
    decoded = decoder_of(name).decode([say(topic[0], spoiled), say(topic[1], good)])
    check_sums(decoded)
    assert [row for row in rows_of(decoded) if row["device"] == "b"] == alone
    whole = [reject.message.payload for reject in decoded.rejects]
    assert whole in ([], [spoiled])


@pytest.mark.parametrize("name", FORMATS)
def test_no_messages_are_no_rows(name: str) -> None:
    decoded = decode(name, OPTIONS[name], [])
    assert (decoded.table.num_rows, decoded.records, decoded.rejects) == (0, 0, ())


@pytest.mark.parametrize("name", FORMATS)
def test_declarations_can_be_sent_to_other_processes(name: str) -> None:
    declared = payload_format(name, OPTIONS[name])
    again: PayloadFormat = pickle.loads(pickle.dumps(declared))
    assert again == declared
    assert again.topic_template() == declared.topic_template()
    assert again.decoder().arrow_schema() == declared.arrow_schema()


LIBRARIES = {
    "avro": "fastavro",
    "cbor": "cbor2",
    "json": "msgspec",
    "msgpack": "msgspec",
    "protobuf": "protobuf",
    "senml_json": "msgspec",
    "senml_cbor": "cbor2",
    "sparkplug_b": "protobuf",
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_missing_library_is_an_error_that_names_the_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = {"protobuf": "google.protobuf"}.get(LIBRARIES[name], LIBRARIES[name])
    for module in [module for module in sys.modules if module.startswith(hidden)]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, hidden, None)
    declared = payload_format(name, OPTIONS[name])
    with pytest.raises(MissingDependencyError, match=rf"{LIBRARIES[name]};.*iot-archive\[ingest\]"):
        declared.decoder()


def test_unknown_formats_and_options_are_refused() -> None:
    with pytest.raises(NotFoundError, match="no payload format 'xml'; there are: avro, cbor"):
        payload_format("xml", {})
    with pytest.raises(InvalidInputError, match=r"(?s)payload format 'json'.*mapings"):
        payload_format("json", {"mapings": {}})
