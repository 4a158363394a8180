"""Declared mappings for dirty files of real deployments, and where to find the files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from pipeline.connectors.delimited import DelimitedSource
from pipeline.connectors.json_documents import JsonSource
from pipeline.connectors.mapping import RowMapping

__all__ = [
    "air_quality",
    "find_real_data",
    "library_motes",
    "lora_main_node",
    "lora_receiver_log",
    "mqtt_capture",
    "parquet_file",
    "raw_file",
]


def find_real_data() -> Path | None:
    """Return the folder of real data, if there is one."""
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("IOT_ARCHIVE_REAL_DATA", beside))
    return folder if folder.is_dir() else None


def _file(kind: str, name: str) -> Path:
    folder = find_real_data()
    return Path(kind, name) if folder is None else folder / kind / name


def raw_file(name: str) -> Path:
    """Return the path of a raw file."""
    return _file("raw", name)


def parquet_file(name: str) -> Path:
    """Return the path of a Parquet file."""
    return _file("parquet", f"{name}.parquet")


def lora_main_node(path: str | Path | None = None, **options: Any) -> DelimitedSource:
    """Tree nodes behind a LoRa base: comments, repeated headers and clock requests in between."""
    mapping = RowMapping.model_validate(
        {
            "device": "node-{Node}",
            "time": {"columns": "Time", "unit": "s"},
            "channels": {
                "battery": {"column": "Battery V", "dtype": "float64", "units": "V", "scale": 0.01},
                "last_tx": {"column": "Last TX Dur ms", "dtype": "int32", "units": "ms"},
                "temperature": {
                    "column": "Temp C",
                    "dtype": "float64",
                    "units": "degC",
                    "scale": 0.01,
                },
                "humidity": {
                    "column": "Hum %",
                    "dtype": "float64",
                    "units": "percent",
                    "scale": 0.01,
                    "missing": ["65535"],
                },
                "message": {"column": "Message", "dtype": "int32"},
                "status": {"column": "Status", "dtype": "uint8", "base": 16},
            },
        }
    )
    names = ("Node", "Message", "Time", "Battery V", "Last TX Dur ms", "Temp C", "Hum %", "Status")
    return DelimitedSource(
        path or raw_file("hast_lora_main_node_Sensor_data.csv"),
        mapping,
        header=False,
        columns=names,
        comment="#",
        ignore=r"^(Node, Message|time request,)",
        **options,
    )


_RECEIVED: Final = (
    r'^(?P<received>\d+\.\d+),"Data: node: (?P<node>\d+), message: (?P<message>\d+), '
    r"time: (?P<time>\d+), Vbat (?P<battery>-?\d+) v, Tx dur (?P<last_tx>\d+) ms, "
    r"T: (?P<temperature>-?\d+) C, RH: (?P<humidity>-?\d+) %, status: (?P<status>0x[0-9a-f]+), "
    r"RSSI (?P<rssi>-?\d+) dBm, SNR (?P<snr>-?\d+) dB, "
    r'good/bad packets: (?P<good>\d+)/(?P<bad>\d+)"$'
)


def lora_receiver_log(path: str | Path | None = None, **options: Any) -> DelimitedSource:
    """Log of a LoRa receiver: one line of five is a reading, the others are talk."""
    mapping = RowMapping.model_validate(
        {
            "device": "node-{node}",
            "time": {"columns": ["received"], "unit": "s", "subsecond": "floor"},
            "channels": {
                "battery": {"dtype": "float64", "units": "V", "scale": 0.01},
                "temperature": {"dtype": "float64", "units": "degC", "scale": 0.01},
                "humidity": {"dtype": "float64", "units": "percent", "scale": 0.01},
                "last_tx": {"dtype": "int32", "units": "ms"},
                "message": {"dtype": "int32"},
                "rssi": {"dtype": "int16", "units": "dBm"},
                "snr": {"dtype": "int16", "units": "dB"},
                "status": {"dtype": "uint8", "base": 16},
                "node_time": {"column": "time", "dtype": "int64", "units": "s"},
            },
        }
    )
    talk = (
        r'^\d+\.\d+,("?Received length|"?\.\.\.sent a reply|"?\.\.\.reply failed|Current time|'
        r"boot|Initializing|Starting|Listening|Startup time|$)"
    )
    return DelimitedSource(
        path or raw_file("hast_lora_receiver_text_log_07.25.21.csv"),
        mapping,
        pattern=_RECEIVED,
        ignore=talk,
        **options,
    )


def air_quality(path: str | Path | None = None, **options: Any) -> DelimitedSource:
    """Gas sensors in an Italian street: semicolons, decimal commas, local time, -200 for nothing."""
    nothing = ["-200", "-200,0"]
    sensors = {
        "CO(GT)": "mg/m3",
        "PT08.S1(CO)": "",
        "NMHC(GT)": "ug/m3",
        "C6H6(GT)": "ug/m3",
        "PT08.S2(NMHC)": "",
        "NOx(GT)": "ppb",
        "PT08.S3(NOx)": "",
        "NO2(GT)": "ug/m3",
        "PT08.S4(NO2)": "",
        "PT08.S5(O3)": "",
        "T": "degC",
        "RH": "percent",
        "AH": "g/m3",
    }
    mapping = RowMapping.model_validate(
        {
            "device": {"constant": "street-1"},
            "time": {
                "columns": ["Date", "Time"],
                "unit": "strptime",
                "pattern": "%d/%m/%Y %H.%M.%S",
                "timezone": "Etc/GMT-1",
            },
            "channels": {
                name: {"dtype": "float64", "units": units, "missing": nothing}
                for name, units in sensors.items()
            },
        }
    )
    return DelimitedSource(
        path or raw_file("uci_air_quality_semicolon_decimal_comma.csv"),
        mapping,
        separator=";",
        decimal=",",
        ignore=r"^;+$",
        **options,
    )


def library_motes(path: str | Path | None = None, **options: Any) -> DelimitedSource:
    """Motes in a library: blanks between fields, decimal commas, milliseconds, no header."""
    quantities = {
        "int_temp": ("float64", "degC"),
        "int_volt": ("float64", "V"),
        "humidity": ("float64", "percent"),
        "temperature": ("float64", "degC"),
        "par": ("int32", ""),
        "tsr": ("int32", ""),
        "seq": ("int32", ""),
    }
    mapping = RowMapping.model_validate(
        {
            "device": "mote-{node}",
            "time": {"columns": "stamp", "unit": "ms"},
            "channels": {
                name: {"dtype": dtype, "units": units}
                for name, (dtype, units) in quantities.items()
            },
        }
    )
    names = (
        "stamp",
        "node",
        "seq",
        "int_temp",
        "int_volt",
        "humidity",
        "temperature",
        "par",
        "tsr",
    )
    return DelimitedSource(
        path or raw_file("ulb_library1_R1_comma_decimals.txt"),
        mapping,
        separator="whitespace",
        decimal=",",
        header=False,
        columns=names,
        **options,
    )


def mqtt_capture(path: str | Path | None = None, **options: Any) -> JsonSource:
    """Captured MQTT messages of two kinds, every one of them twice."""
    mapping = RowMapping.model_validate(
        {
            "device": "payload.node-id",
            "time": {"columns": "receivedTimestamp"},
            "channels": {
                "motion": {"column": "payload.motion-bool", "dtype": "bool"},
                "temperature": {
                    "column": "payload.temp-C",
                    "dtype": "float64",
                    "units": "degC",
                },
                "humidity": {
                    "column": "payload.hum-percent",
                    "dtype": "float64",
                    "units": "percent",
                },
                "heat_index": {
                    "column": "payload.heatindex-C",
                    "dtype": "float64",
                    "units": "degC",
                },
                "dew_point": {"column": "payload.dewpoint", "dtype": "float64", "units": "degC"},
                "sensor": {"column": "payload.sensor", "dtype": "category"},
                "sent": {"column": "payload.timestamp", "dtype": "int64", "units": "s"},
            },
        }
    )
    return JsonSource(path or raw_file("mqtt_nodered_capture.json"), mapping, **options)
