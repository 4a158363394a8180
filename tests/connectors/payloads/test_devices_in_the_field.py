"""Messages as real devices and gateways send them."""

from __future__ import annotations

from typing import Any

from tests.connectors.payloads.saying import RECEIVED, decode, reasons_of, rows_of, say

NUMBER = {"dtype": "float64"}


def test_tasmota_tells_local_times_without_an_offset() -> None:
    payload = (
        '{"Time":"2024-01-05T12:30:15","AM2301":{"Temperature":21.4,"Humidity":48.2,'
        '"DewPoint":9.9},"TempUnit":"C"}'
    )
    options: dict[str, Any] = {
        "mapping": {
            "topic": "tele/{device}/SENSOR",
            "device": "device",
            "time": {"columns": "Time", "timezone": "Europe/Brussels"},
            "channels": {
                "temperature": {**NUMBER, "column": "AM2301.Temperature", "units": "degC"},
                "humidity": {**NUMBER, "column": "AM2301.Humidity"},
            },
        }
    }
    decoded = decode("json", options, [say("tele/tasmota_4F2A/SENSOR", payload)])
    assert rows_of(decoded) == [
        {
            "device": "tasmota_4F2A",
            "time": 1_704_454_215_000_000,
            "temperature": 21.4,
            "humidity": 48.2,
        }
    ]
    assert decoded.table.schema.field("temperature").metadata == {b"units": b"degC"}


def test_shelly_notifies_about_many_things_and_only_some_are_archived() -> None:
    src = '"src":"shellyplusht-08b61fcb7f3c","dst":"shellyplusht-08b61fcb7f3c/events"'
    status = (
        f'{{{src},"method":"NotifyStatus","params":{{"ts":1668522399.21,'
        '"temperature:0":{"id": 0,"tC":23.4,"tF":74.2},"humidity:0":{"id": 0,"rh":51.9}}}'
    )
    wifi = f'{{{src},"method":"NotifyStatus","params":{{"ts":1668522400.5,"wifi":{{"rssi":-61}}}}}}'
    event = f'{{{src},"method":"NotifyEvent","params":{{"ts":1668522401.02,"events":[]}}}}'
    options = {
        "mapping": {
            "topic": "{device}/events/rpc",
            "device": "device",
            "time": {"columns": "params.ts", "unit": "s"},
            "where": {"method": "NotifyStatus"},
            "other_fields": "ignore",
            "channels": {
                "temperature": {**NUMBER, "column": "params.temperature:0.tC"},
                "humidity": {**NUMBER, "column": "params.humidity:0.rh"},
            },
        }
    }
    topic = "shellyplusht-08b61fcb7f3c/events/rpc"
    decoded = decode("json", options, [say(topic, text) for text in (status, wifi, event)])
    assert rows_of(decoded) == [
        {
            "device": "shellyplusht-08b61fcb7f3c",
            "time": 1_668_522_399_210_000,
            "temperature": 23.4,
            "humidity": 51.9,
        }
    ]
    assert (decoded.records, decoded.ignored, decoded.rejects) == (3, 2, ())


def test_an_older_shelly_has_a_topic_for_each_value_and_no_times() -> None:
    options = {
        "mapping": {
            "topic": "shellies/shellyht-{id}/sensor/{quantity}",
            "device": "shelly-{id}",
            "time": "message/received",
            "channel": "quantity",
            "value": ".",
            "channels": {"temperature": NUMBER, "battery": {"dtype": "uint8"}},
            "other_fields": "ignore",
        }
    }
    told = [
        say("shellies/shellyht-6A6375/sensor/temperature", "22.62"),
        say("shellies/shellyht-6A6375/sensor/battery", "100"),
        say("shellies/shellyht-6A6375/sensor/act_reasons", '["sensor"]'),
        say("shellies/shellyht-6A6375/sensor/temperature", "22.75", RECEIVED + 1),
    ]
    decoded = decode("json", options, told)
    assert rows_of(decoded) == [
        {"device": "shelly-6A6375", "time": RECEIVED, "temperature": 22.62, "battery": 100},
        {"device": "shelly-6A6375", "time": RECEIVED + 1, "temperature": 22.75},
    ]
    assert (decoded.merged, decoded.ignored) == (1, 1)


def test_zigbee2mqtt_may_leave_the_time_out() -> None:
    seen = (
        '{"battery":97,"contact":false,"last_seen":1704457800123,"linkquality":120,'
        '"temperature":21.57,"power_outage_count":null,"state":"ON"}'
    )
    unseen = '{"battery":97,"contact":true,"linkquality":118,"temperature":22,"state":"OFF"}'
    options = {
        "mapping": {
            "topic": "zigbee2mqtt/{room}/{device}",
            "device": "device",
            "tags": ["room"],
            "time": {"columns": "last_seen", "unit": "ms", "missing": "received"},
            "channels": {
                "temperature": NUMBER,
                "linkquality": {"dtype": "uint8"},
                "contact": {"dtype": "bool"},
                "state": {"dtype": "category"},
            },
        }
    }
    topic = "zigbee2mqtt/kitchen/0x00158d0001"
    decoded = decode("json", options, [say(topic, seen), say(topic, unseen)])
    assert rows_of(decoded) == [
        {
            "device": "0x00158d0001",
            "time": 1_704_457_800_123_000,
            "temperature": 21.57,
            "linkquality": 120,
            "contact": False,
            "state": "ON",
        },
        {
            "device": "0x00158d0001",
            "time": RECEIVED,
            "temperature": 22.0,
            "linkquality": 118,
            "contact": True,
            "state": "OFF",
        },
    ]
    assert decoded.tags == {"0x00158d0001": {"room": "kitchen"}}


UPLINK = """{
  "end_device_ids": {
    "device_id": "leaf-node-17", "application_ids": {"application_id": "hast"},
    "dev_eui": "0004A30B001C0530", "dev_addr": "260B0AC1"
  },
  "received_at": "2024-06-12T05:41:09.132456789Z",
  "uplink_message": {
    "f_port": 1, "f_cnt": 4711, "frm_payload": "CZIBbA==",
    "decoded_payload": {"temperature": 2450, "soil": {"moisture": 36.4}},
    "rx_metadata": [
      {"gateway_ids": {"gateway_id": "gw-1"}, "rssi": -112, "snr": -4.5},
      {"gateway_ids": {"gateway_id": "gw-2"}, "rssi": -119, "snr": -8.2}
    ],
    "settings": {"data_rate": {"lora": {"bandwidth": 125000, "spreading_factor": 9}}}
  }
}"""


def test_a_things_network_uplink_counts_nanoseconds_and_hundredths() -> None:
    message = "uplink_message"
    mapping = {
        "topic": "v3/{application}@ttn/devices/{device}/up",
        "device": "end_device_ids.device_id",
        "tags": {"eui": "end_device_ids.dev_eui", "application": "application"},
        "time": {"columns": "received_at", "subsecond": "floor"},
        "channels": {
            "temperature": {
                **NUMBER,
                "column": f"{message}.decoded_payload.temperature",
                "scale": 0.01,
            },
            "moisture": {**NUMBER, "column": f"{message}.decoded_payload.soil.moisture"},
            "rssi": {"dtype": "int16", "column": f"{message}.rx_metadata.0.rssi"},
        },
    }
    topic = "v3/hast@ttn/devices/leaf-node-17/up"
    decoded = decode("json", {"mapping": mapping}, [say(topic, UPLINK)])
    assert rows_of(decoded) == [
        {
            "device": "leaf-node-17",
            "time": 1_718_170_869_132_456,
            "temperature": 24.5,
            "moisture": 36.4,
            "rssi": -112,
        }
    ]
    assert decoded.tags == {"leaf-node-17": {"eui": "0004A30B001C0530", "application": "hast"}}
    strict = {**mapping, "time": "received_at"}
    assert (
        "below the microsecond"
        in reasons_of(decode("json", {"mapping": strict}, [say(topic, UPLINK)]))[0]
    )
