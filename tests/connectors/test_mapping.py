from __future__ import annotations

import copy
import pickle
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipeline.connectors.mapping import DeviceMapping, RowMapping, map_rows, text_devices
from pipeline.model.dtypes import CHANNEL_DTYPES
from pipeline.schema.channels import Schema

RULES: dict[str, Any] = {
    "device": "{site}-{node}",
    "time": {"columns": ["date", "clock"], "unit": "strptime", "pattern": "%d/%m/%Y %H.%M"},
    "channels": {
        "t": {"dtype": "float64", "units": "degC", "description": "Air", "scale": 0.01},
        "s": {"column": "status", "dtype": "uint8", "base": 16},
    },
}


def columns(**texts: list[str | None]) -> dict[str, pa.Array]:
    return {name: pa.array(values, pa.string()) for name, values in texts.items()}


def test_rows_by_a_declared_mapping() -> None:
    mapping = RowMapping.model_validate(RULES)
    assert mapping.columns == ("site", "node", "date", "clock", "t", "status")
    found = map_rows(
        columns(
            site=["x", " x ", None, "x"],
            node=["1", "2", "3", "4"],
            date=["01/02/2024", "02/02/2024", "03/02/2024", None],
            clock=["08.00", "24.00", "08.00", "08.00"],
            t=["2358", "1", "1", "1"],
            status=["0x20", "0", "0", "0"],
        ),
        mapping,
        4,
    )
    assert found.table.to_pylist()[0]["device"] == "x-1"
    assert found.table["t"].to_pylist() == [23.58]
    assert found.table["s"].to_pylist() == [32]
    assert found.reasons == {
        1: "time '02/02/2024 24.00' names a date or a time of day that does not exist",
        2: "device is missing",
        3: "time is missing",
    }


def test_the_schema_of_a_mapping_is_a_fleets_schema() -> None:
    channels = {f"c_{dtype}": {"dtype": dtype} for dtype in CHANNEL_DTYPES}
    mapping = RowMapping.model_validate({**RULES, "channels": {**RULES["channels"], **channels}})
    schema = Schema.from_arrow(mapping.arrow_schema())
    assert schema["t"].units == "degC"
    assert schema["t"].description == "Air"
    assert all(schema[name].dtype == rule["dtype"] for name, rule in channels.items())


def test_devices() -> None:
    assert text_devices({}, DeviceMapping(constant="only"), 2).to_pylist() == ["only", "only"]
    encoded = pa.array(["a", "a"]).dictionary_encode()
    assert text_devices({"d": encoded}, DeviceMapping(column="d"), 2) is encoded
    numbers = {"d": pa.array([7, None])}
    assert text_devices(numbers, DeviceMapping(column="d"), 2).to_pylist() == ["7", None]
    assert text_devices(numbers, DeviceMapping(template="{{n}}-{d}"), 2).to_pylist() == [
        "{n}-7",
        None,
    ]


def test_a_mapping_can_be_sent_to_workers_and_written_down() -> None:
    mapping = RowMapping.model_validate(RULES)
    assert pickle.loads(pickle.dumps(mapping)) == mapping
    assert RowMapping.model_validate_json(mapping.model_dump_json()) == mapping


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("colour",), "red"),
        (("device",), {"column": "a", "constant": "b"}),
        (("device",), {}),
        (("device",), {"template": "plain"}),
        (("device",), "{a!r}"),
        (("device",), "{a:>5}"),
        (("device",), "{a"),
        (("time",), {"columns": []}),
        (("time",), {"columns": "t", "unit": "minutes"}),
        (("time", "pattern"), ""),
        (("time", "timezone"), "Mars/Olympus"),
        (("channels",), {}),
        (("channels", "device"), {"dtype": "int8"}),
        (("channels", "t", "dtype"), "text"),
        (("channels", "t", "scale"), 0),
        (("channels", "t", "scale"), "much"),
        (("channels", "s", "base"), 7),
        (("channels", "s", "dtype"), "category"),
        (("channels", "s", "unit"), "K"),
    ],
)
def test_a_wrong_declaration_is_refused(path: tuple[str, ...], value: Any) -> None:
    rules = copy.deepcopy(RULES)
    inner = rules
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ValidationError):
        RowMapping.model_validate(rules)
