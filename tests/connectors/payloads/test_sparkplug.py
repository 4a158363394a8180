"""Sparkplug B: births tell aliases, data use them, and gaps ask for a rebirth."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.connectors.payloads import (
    Decoder,
    DeviceGone,
    Message,
    RebirthRequest,
    payload_format,
)
from tests.connectors.payloads.kinds import SPARKPLUG
from tests.connectors.payloads.saying import RECEIVED, check_sums, reasons_of, rows_of, say

INT8, INT16, INT32, INT64, UINT8, UINT64, FLOAT, DOUBLE, BOOLEAN, STRING = (
    1,
    2,
    3,
    4,
    5,
    8,
    9,
    10,
    11,
    12,
)
DATASET = 16
AT = 1_700_000_000_000
NODE = "Plant 1/Edge"
PRESS = f"{NODE}/Press 4"

CHANNELS: dict[str, Any] = {
    "temperature": {"dtype": "float64", "column": "Process/Temperature"},
    "strokes": {"dtype": "int64", "column": "Counters/Strokes"},
    "running": {"dtype": "bool", "column": "Running"},
    "recipe": {"dtype": "category", "column": "Recipe"},
}


def decoder_of(**told: Any) -> Decoder:
    options = {"mapping": {"channels": CHANNELS, **told}, "ask_again_s": 10}
    return payload_format("sparkplug_b", options).decoder()


def message(
    kind: str, seq: int | None, metrics: list[dict[str, Any]], received: int = RECEIVED
) -> Message:
    device = "/Press 4" if kind[0] == "D" else ""
    payload = SPARKPLUG(timestamp=AT)
    if seq is not None:
        payload.seq = seq
    for metric in metrics:
        payload.metrics.add(**metric)
    topic = f"spBv1.0/Plant 1/{kind}/Edge{device}"
    return say(topic, payload.SerializeToString(), received)


def node_birth(seq: int = 0, session: int = 7) -> Message:
    return message(
        "NBIRTH",
        seq,
        [
            {"name": "bdSeq", "datatype": INT64, "long_value": session},
            {"name": "Node Control/Rebirth", "datatype": BOOLEAN, "boolean_value": False},
            {"name": "Process/Temperature", "alias": 1, "datatype": FLOAT, "float_value": 18.5},
        ],
    )


def device_birth(seq: int = 1) -> Message:
    return message(
        "DBIRTH",
        seq,
        [
            {"name": "Process/Temperature", "alias": 1, "datatype": DOUBLE, "double_value": 61.25},
            {"name": "Counters/Strokes", "alias": 2, "datatype": INT64, "long_value": 1000},
            {"name": "Running", "alias": 3, "datatype": BOOLEAN, "boolean_value": True},
            {"name": "Recipe", "alias": 4, "datatype": STRING, "string_value": "A-17"},
            {"name": "Vibration", "alias": 5, "datatype": DOUBLE, "double_value": 0.1},
        ],
    )


def test_births_are_readings_and_data_name_metrics_by_their_aliases() -> None:
    decoder = decoder_of()
    decoded = decoder.decode([node_birth(), device_birth()])
    check_sums(decoded)
    assert rows_of(decoded) == [
        {"device": NODE, "time": AT * 1000, "temperature": 18.5},
        {
            "device": PRESS,
            "time": AT * 1000,
            "temperature": 61.25,
            "strokes": 1000,
            "running": True,
            "recipe": "A-17",
        },
    ]
    assert (decoded.events, decoded.rejects) == ((), ())
    later = decoder.decode(
        [
            message(
                "DDATA",
                2,
                [
                    {"alias": 1, "timestamp": AT + 250, "double_value": 61.5},
                    {"alias": 2, "timestamp": AT + 250, "long_value": 2**64 - 3},
                    {"alias": 3, "is_null": True},
                    {"alias": 5, "double_value": 0.2},
                ],
            ),
            message("NDATA", 3, [{"alias": 1, "float_value": 18.75, "timestamp": AT + 300}]),
        ]
    )
    check_sums(later)
    assert rows_of(later) == [
        {"device": PRESS, "time": (AT + 250) * 1000, "temperature": 61.5, "strokes": -3},
        {"device": NODE, "time": (AT + 300) * 1000, "temperature": 18.75},
    ]
    assert (later.events, later.rejects, later.ignored, later.merged) == ((), (), 2, 1)


def test_sequence_numbers_go_round() -> None:
    decoder = decoder_of()
    decoder.decode([node_birth(seq=254)])
    told = [message("NDATA", seq, [{"alias": 1, "float_value": 1.0}]) for seq in (255, 0, 1)]
    assert decoder.decode(told).events == ()


def test_a_gap_asks_for_a_rebirth_once_and_what_came_is_stored() -> None:
    decoder = decoder_of()
    decoder.decode([node_birth(), device_birth()])
    told = [
        message("DDATA", seq, [{"alias": 1, "double_value": 1.0 * seq, "timestamp": AT + seq}])
        for seq in (2, 4, 5, 7)
    ]
    decoded = decoder.decode(told)
    assert [row["temperature"] for row in rows_of(decoded)] == [2.0, 4.0, 5.0, 7.0]
    assert decoded.events == (
        RebirthRequest("Plant 1", "Edge", "sequence number 3 was expected, and 4 came"),
    )
    assert decoded.events[0].topic == "spBv1.0/Plant 1/NCMD/Edge"
    assert decoder.decode([node_birth(), device_birth()]).events == ()


def test_a_rebirth_that_does_not_come_is_asked_for_again_after_a_while() -> None:
    decoder = decoder_of()
    counts = [
        len(decoder.decode([message("NDATA", 5, [], RECEIVED + after)]).events)
        for after in (0, 9_999_999, 10_000_000, 10_000_001)
    ]
    assert counts == [1, 0, 1, 0]


def test_an_unknown_alias_is_kept_and_asks_for_a_rebirth() -> None:
    decoder = decoder_of()
    lost = message("DDATA", 9, [{"alias": 1, "double_value": 1.0}, {"alias": 2, "long_value": 2}])
    decoded = decoder.decode([lost])
    check_sums(decoded)
    assert rows_of(decoded) == []
    assert [reject.message for reject in decoded.rejects] == [lost]
    assert (
        "alias 1 is unknown: no birth of 'Plant 1/Edge/Press 4' tells it" in reasons_of(decoded)[0]
    )
    assert decoded.rejected == 2
    assert [event.reason for event in decoded.events] == [
        "its birth certificate (NBIRTH) was not seen"
    ]


def test_metrics_that_name_themselves_need_no_birth() -> None:
    named = {"name": "Counters/Strokes", "datatype": INT16, "int_value": 2**32 - 5}
    decoded = decoder_of().decode([message("DDATA", 1, [named])])
    assert [row["strokes"] for row in rows_of(decoded)] == [-5]
    assert len(decoded.events) == 1


def test_a_death_ends_a_session_and_its_aliases() -> None:
    decoder = decoder_of()
    decoder.decode([node_birth(session=7), device_birth()])
    stale = message("NDEATH", None, [{"name": "bdSeq", "datatype": INT64, "long_value": 6}])
    death = message("NDEATH", None, [{"name": "bdSeq", "datatype": INT64, "long_value": 7}])
    data = {"alias": 1, "double_value": 1.0}
    alive = decoder.decode([stale, message("DDATA", 2, [data])])
    assert (alive.events, alive.table.num_rows) == ((), 1)
    decoded = decoder.decode([death, message("DDATA", 3, [data])])
    assert decoded.events == (
        DeviceGone("Plant 1", "Edge", "", RECEIVED),
        RebirthRequest("Plant 1", "Edge", "its birth certificate (NBIRTH) was not seen"),
    )
    assert (decoded.table.num_rows, decoded.rejected) == (0, 1)


def test_a_devices_death_leaves_its_node_alive() -> None:
    decoder = decoder_of()
    decoder.decode([node_birth(), device_birth()])
    data = {"alias": 1, "double_value": 1.0}
    decoded = decoder.decode(
        [message("DDEATH", 2, []), message("NDATA", 3, [data]), message("DDATA", 4, [data])]
    )
    gone, asked = decoded.events
    assert gone == DeviceGone("Plant 1", "Edge", "Press 4", RECEIVED)
    assert "alias 1 is unknown" in asked.reason
    assert [row["device"] for row in rows_of(decoded)] == [NODE]


def test_a_death_of_a_stranger_means_nothing() -> None:
    decoded = decoder_of().decode([message("NDEATH", None, [])])
    assert (decoded.events, decoded.ignored) == ((), 1)


@pytest.mark.parametrize(
    ("datatype", "sent", "value"),
    [
        (INT8, {"int_value": 0xFF}, -1),
        (INT8, {"int_value": 2**32 - 1}, -1),
        (INT8, {"int_value": 127}, 127),
        (INT16, {"int_value": 0x8000}, -32768),
        (INT32, {"int_value": 2**31}, -(2**31)),
        (INT64, {"long_value": 2**63}, -(2**63)),
        (UINT8, {"int_value": 255}, 255),
        (UINT64, {"long_value": 2**63 - 1}, 2**63 - 1),
    ],
)
def test_integers_keep_their_sign(datatype: int, sent: dict[str, int], value: int) -> None:
    metric = {"name": "Counters/Strokes", "datatype": datatype, **sent}
    decoded = decoder_of().decode([message("NDATA", 0, [metric])])
    assert [row["strokes"] for row in rows_of(decoded)] == [value]


def test_a_data_set_is_no_value_of_a_channel() -> None:
    metric = {"name": "Counters/Strokes", "datatype": DATASET, "dataset_value": b""}
    decoded = decoder_of().decode([message("NDATA", 0, [metric])])
    assert reasons_of(decoded) == ["channel 'strokes' is of type bytes, not a single value"]


def test_a_metric_without_any_time_has_the_receive_time() -> None:
    payload = SPARKPLUG(seq=0)
    payload.metrics.add(name="Running", datatype=BOOLEAN, boolean_value=False)
    decoded = decoder_of().decode([say("spBv1.0/Plant 1/NDATA/Edge", payload.SerializeToString())])
    assert rows_of(decoded) == [{"device": NODE, "time": RECEIVED, "running": False}]


def test_commands_and_states_of_hosts_are_ignored_and_other_topics_kept() -> None:
    told = [
        message("NCMD", None, []),
        say("spBv1.0/STATE/scada", '{"online":true,"timestamp":1700000000000}'),
        say("spBv1.0/Plant 1/NDATA", b""),
        say("plain/topic", b""),
    ]
    decoded = decoder_of().decode(told)
    check_sums(decoded)
    assert (decoded.ignored, decoded.rejected) == (2, 2)
    assert "is no topic of Sparkplug B" in reasons_of(decoded)[0]


def test_historical_metrics_can_be_told_apart() -> None:
    metrics = [
        {"name": "Running", "datatype": BOOLEAN, "boolean_value": True, "is_historical": past}
        for past in (True, False)
    ]
    decoded = decoder_of(where={"historical": "false"}).decode([message("NDATA", 0, metrics)])
    assert (decoded.table.num_rows, decoded.ignored) == (1, 1)


def test_the_subscription_is_all_of_sparkplug() -> None:
    options = {"mapping": {"channels": CHANNELS}}
    assert payload_format("sparkplug_b", options).topic_template() == "spBv1.0/#"
