from __future__ import annotations

import json
import math
import pickle
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import NotFoundError, SchemaError
from pipeline.model.dtypes import CHANNEL_DTYPES
from pipeline.schema.channels import Channel, Schema

ROOM = Schema(
    [
        Channel("temperature", "float64", units="degC", description="Air", valid_range=(-40, 85.5)),
        Channel("CO(GT)", "int16", valid_range=(0, math.inf)),
        Channel("door", "category"),
    ],
    version=3,
)


@pytest.mark.parametrize(
    "name",
    ["PM2.5", "CO(GT)", "Volume Flow RateRMS", "a/b", "Température", "温度", "..", "x" * 300],
)
def test_names_are_what_the_devices_say(name: str) -> None:
    assert Schema([Channel(name, "float64")])[name].name == name


@pytest.mark.parametrize("name", ["", "  ", "device", "time", "device_index", "a\nb", "a\x00", 5])
def test_names_that_cannot_be(name: Any) -> None:
    with pytest.raises(SchemaError, match="name"):
        Channel(name, "float64")


@pytest.mark.parametrize(
    "arguments",
    [
        {"dtype": "float"},
        {"dtype": "text"},
        {"units": None},
        {"codec": 5},
        {"codec": "delta"},
        {"valid_range": (1, 0)},
        {"valid_range": (0, math.nan)},
        {"valid_range": (0,)},
        {"valid_range": 5},
        {"valid_range": (True, 5)},
        {"dtype": "category", "valid_range": (0, 1)},
    ],
)
def test_a_wrong_channel_is_refused_by_name(arguments: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match="'t'"):
        Channel(**{"name": "t", "dtype": "float64", **arguments})


def test_a_schema_is_a_sequence_of_channels() -> None:
    assert ROOM.names == ("temperature", "CO(GT)", "door")
    assert [channel.name for channel in ROOM] == list(ROOM.names)
    assert len(ROOM) == 3
    assert "door" in ROOM
    assert "window" not in ROOM
    with pytest.raises(NotFoundError, match="no channel 'window'"):
        ROOM["window"]
    assert pickle.loads(pickle.dumps(ROOM)) == ROOM
    assert hash(ROOM) == hash(Schema.from_json(ROOM.to_json()))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Schema([]),
        lambda: Schema(["temperature"]),  # type: ignore[list-item]
        lambda: Schema([Channel("t", "int8"), Channel("t", "int16")]),
        lambda: Schema(ROOM.channels, version=0),
        lambda: Schema(ROOM.channels, version=True),
        lambda: Schema(ROOM.channels, version="1"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_schema_is_refused(make: Any) -> None:
    with pytest.raises(SchemaError):
        make()


def test_json_has_every_field_and_keeps_open_ends() -> None:
    document = json.loads(json.dumps(ROOM.to_json(), allow_nan=False))
    assert document["version"] == 3
    assert document["channels"][1]["valid_range"] == [0, None]
    assert Schema.from_json(document) == ROOM


def test_json_may_leave_out_what_has_a_default() -> None:
    document = {"version": 1, "channels": [{"name": "t", "dtype": "int8"}]}
    assert Schema.from_json(document) == Schema([Channel("t", "int8")])
    open_below = {"name": "t", "dtype": "int8", "valid_range": [None, 5]}
    assert Channel.from_json(open_below).valid_range == (-math.inf, 5)


@pytest.mark.parametrize(
    "document",
    [
        {"version": 1},
        {"version": 1, "channels": [], "colour": "red"},
        {"version": 1, "channels": [{"name": "t"}]},
        {"version": 1, "channels": [{"name": "t", "dtype": "int8", "unit": "K"}]},
        {"version": 1, "channels": ["t"]},
        {"version": 1, "channels": [{"name": "t", "dtype": "int8", "valid_range": [1]}]},
        [],
    ],
)
def test_json_with_unknown_or_missing_keys_is_refused(document: Any) -> None:
    with pytest.raises(SchemaError):
        Schema.from_json(document)


names = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1).filter(
    lambda name: name.strip() and name not in ("device", "time", "device_index")
)
channels = st.builds(
    Channel, names, st.sampled_from(CHANNEL_DTYPES), st.text(), st.text(), st.none()
)


@given(st.lists(channels, min_size=1, unique_by=lambda channel: channel.name), st.integers(1, 99))
def test_every_schema_survives_json(found: list[Channel], version: int) -> None:
    schema = Schema(found, version)
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


def test_arrow_types_become_channel_dtypes() -> None:
    kinds = {
        "i": (pa.int32(), "int32"),
        "u": (pa.uint8(), "uint8"),
        "h": (pa.float16(), "float32"),
        "f": (pa.float32(), "float32"),
        "d": (pa.float64(), "float64"),
        "b": (pa.bool_(), "bool"),
        "s": (pa.string(), "category"),
        "l": (pa.large_string(), "category"),
        "c": (pa.dictionary(pa.int8(), pa.string()), "category"),
        "n": (pa.dictionary(pa.int8(), pa.int64()), "int64"),
    }
    fields = [pa.field("device", pa.string()), pa.field("time", pa.timestamp("us"))]
    fields += [pa.field(name, kind) for name, (kind, _) in kinds.items()]
    schema = Schema.from_arrow(pa.schema(fields))
    assert {channel.name: channel.dtype for channel in schema} == {
        name: dtype for name, (_, dtype) in kinds.items()
    }


def test_arrow_metadata_gives_units_and_description() -> None:
    field = pa.field("t", pa.float64(), metadata={"units": "°C", "description": "Air"})
    assert Schema.from_arrow(pa.schema([field]))["t"] == Channel("t", "float64", "°C", "Air")


@pytest.mark.parametrize(
    "kind", [pa.decimal128(5, 2), pa.timestamp("us"), pa.binary(), pa.list_(pa.int8()), pa.null()]
)
def test_arrow_types_without_a_dtype_say_what_to_do(kind: pa.DataType) -> None:
    with pytest.raises(SchemaError, match=r"column 'x'.*convert it"):
        Schema.from_arrow(pa.schema([pa.field("x", kind)]))
