from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.errors import NotFoundError, SchemaError
from pipeline.schema.changes import (
    AddChannel,
    Categories,
    Change,
    ChangeDtype,
    ChangeRange,
    ChangeUnits,
    Describe,
    MergeChannels,
    RemoveChannel,
    RenameChannel,
    Resolution,
    SplitChannel,
)
from pipeline.schema.channels import Channel, Schema
from pipeline.schema.compatibility import compare
from pipeline.schema.evolving import describe, evolve
from pipeline.schema.versions import SchemaHistory
from tests.schema.histories import FIRST, THREE, history


def test_changes_are_applied_in_order() -> None:
    found = history(*THREE)
    second, third = found[2].schema, found[3].schema
    assert second.names == ("temperature", "count", "mode", "open", "humidity")
    assert second["temperature"].units == "degC"
    low, high = second["temperature"].valid_range or (0, 0)
    assert (low, high) == pytest.approx((-40, 100))
    assert second["temperature"].resolution == pytest.approx(0.5)
    assert third.names == ("temperature", "count", "state", "humidity")
    assert third["count"].dtype == "int64"
    assert (second.version, third.version) == (2, 3)


def test_what_a_channel_is_stored_in_never_changes_its_kind() -> None:
    found = history(*THREE)
    assert found[1].arrays == {name: name for name in FIRST.names}
    assert found[2].arrays == {
        "temperature": "temperature~2",
        "count": "count",
        "mode": "mode",
        "open": "open",
        "humidity": "humidity",
    }
    assert found[3].arrays == {
        "temperature": "temperature~2",
        "count": "count~3",
        "state": "state",
        "humidity": "humidity",
    }
    assert {name: one.dtype for name, one in found.stored.items()}["count"] == "int16"


def test_what_is_only_told_otherwise_keeps_its_array() -> None:
    found = history(
        (
            Describe("count", "of doors"),
            ChangeRange("count", (0, 9)),
            Resolution("count", 1),
            Categories("mode", allowed=("off", "on")),
            RenameChannel("open", "is open"),
        )
    )
    assert set(found[2].arrays.values()) == set(FIRST.names)
    assert found[2].schema["count"] == Channel(
        "count", "int16", description="of doors", valid_range=(0, 9), resolution=1
    )
    assert found[2].schema["mode"].categories == ("off", "on")


def test_a_name_that_is_used_again_gets_another_array() -> None:
    again = (AddChannel(Channel("open", "bool")),)
    found = history((RemoveChannel("open"),), again, (RemoveChannel("open"),), again)
    arrays = [version.arrays.get("open") for version in found]
    assert arrays == ["open", None, "open~3", None, "open~5"]
    other = history((AddChannel(Channel("open~2", "bool")),), (ChangeDtype("open", "int8"),))
    assert other[3].arrays["open"] == "open~3"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (AddChannel(Channel("count", "int8")), "already"),
        (AddChannel(Channel("x", "int8"), default=300), "no value of channel 'x'"),
        (AddChannel(Channel("x", "bool"), default=1), "no value of channel 'x'"),
        (AddChannel(Channel("x", "category", categories=("a",)), default="b"), "no value"),
        (RemoveChannel("x"), "no channel 'x'"),
        (RenameChannel("count", "mode"), "already"),
        (RenameChannel("count", "time"), "taken by the archive"),
        (ChangeDtype("count", "int16"), "already"),
        (ChangeDtype("count", "text"), "unknown dtype"),
        (ChangeDtype("temperature", "float32"), "tolerance=1e-3"),
        (ChangeDtype("temperature", "float32", tolerance=-1), "tolerance has to be"),
        (ChangeDtype("count", "category"), "texts="),
        (ChangeDtype("count", "int32", texts=((0, "a"),)), "only categories"),
        (ChangeDtype("mode", "int8", tolerance=1), "texts take no tolerance"),
        (ChangeUnits("mode", "m", 2), "no units"),
        (ChangeUnits("count", "m", 0.5), "change the dtype first"),
        (Categories("count", ("a",)), "has no categories"),
        (Categories("mode", ("a",), (("b", "c"),)), "not among the allowed"),
        (ChangeRange("mode", (0, 1)), "takes no valid_range"),
        (Resolution("count", 0), "positive"),
        (SplitChannel("count", (), "f"), "split into"),
        (SplitChannel("count", (Channel("a", "category"),), "f"), "no categories"),
        (SplitChannel("count", (Channel("mode", "int8"),), "f"), "already"),
        (SplitChannel("count", (Channel("a", "int8"),), ""), "a name and a version"),
        (MergeChannels(("count",), Channel("a", "int8"), "f"), "at least two"),
    ],
)
def test_changes_that_make_no_sense(change: Change, message: str) -> None:
    with pytest.raises(SchemaError, match=message) as caught:
        history((change,))
    assert str(caught.value).startswith(f"version 2, change 1 ({change.kind}): ")


def test_wrong_misfits_and_texts_are_refused_at_once() -> None:
    with pytest.raises(SchemaError, match="misfits"):
        ChangeDtype("a", "int8", misfits="drop")
    with pytest.raises(SchemaError, match="have to be texts"):
        Categories("a", renamed=(("a", 5),))  # type: ignore[arg-type]


def test_a_schema_keeps_a_channel_and_a_version_changes_something() -> None:
    with pytest.raises(SchemaError, match="no channel left"):
        history((RemoveChannel("a"),), first=Schema([Channel("a", "int8")]))
    with pytest.raises(SchemaError, match="takes changes"):
        history(())


def test_split_and_merge_stand_where_the_old_channels_stood() -> None:
    parts = (Channel("low", "uint8"), Channel("high", "uint8"))
    found = history(
        (SplitChannel("count", parts, "bytes"),),
        (MergeChannels(("low", "high"), Channel("count", "int32"), "bytes back"),),
    )
    assert found[2].schema.names == ("temperature", "low", "high", "mode", "open")
    assert found[3].schema.names == ("temperature", "count", "mode", "open")
    assert found[3].arrays["count"] == "count~3"


def test_a_channel_may_be_merged_into_one_of_its_name() -> None:
    merged = MergeChannels(("count", "open"), Channel("count", "int32"), "sum")
    found = history((merged,))
    assert found[2].schema.names == ("temperature", "count", "mode")
    assert found[2].arrays["count"] == "count~2"


def test_history_goes_through_json() -> None:
    parts = (Channel("low", "uint8", valid_range=(0, float("inf"))), Channel("high", "uint8"))
    found = history(
        *THREE,
        (SplitChannel("count", parts, "bytes"), ChangeRange("low", (float("-inf"), 5))),
        (MergeChannels(("low", "high"), Channel("count", "int32"), "back", 2),),
        (ChangeDtype("state", "int8", texts=((0, "off"), (1, "running"))),),
        (AddChannel(Channel("note", "category", categories=("a", "b")), default="a"),),
        (Describe("note", "?"), Resolution("humidity", 0.1)),
    )
    document = json.loads(json.dumps(found.to_json()))
    assert SchemaHistory.from_json(document) == found
    assert document["format"] == 1


def test_the_first_version_is_written_as_it_always_was() -> None:
    document = history().to_json()
    assert document == {"versions": [FIRST.to_json()]}
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    made = SchemaHistory.first(FIRST, author="ann", time=moment)
    assert SchemaHistory.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_newer_forms_and_unknown_changes_are_refused() -> None:
    document = history(*THREE).to_json()
    with pytest.raises(SchemaError, match="form 2"):
        SchemaHistory.from_json(document | {"format": 2})
    document["versions"][1]["changes"][0]["change"] = "teleport"
    with pytest.raises(SchemaError, match="no change of a schema"):
        SchemaHistory.from_json(document)
    document = history(*THREE).to_json()
    del document["versions"][1]["arrays"]["humidity"]
    with pytest.raises(SchemaError, match="where all channels are stored"):
        SchemaHistory.from_json(document)
    with pytest.raises(SchemaError, match="one after the other"):
        SchemaHistory(history(*THREE).versions[::2])


def test_a_first_version_may_have_another_number() -> None:
    found = history((AddChannel(Channel("x", "int8")),), first=Schema(FIRST.channels, 7))
    assert found.numbers == range(7, 9)
    assert found[8].arrays["x"] == "x"
    assert SchemaHistory.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert compare(found, 7, 8).full
    with pytest.raises(NotFoundError, match="there are 7 to 8"):
        found[1]


def test_versions_by_number_and_time() -> None:
    found = history(*THREE)
    assert len(found) == 3
    assert [version.number for version in found] == [1, 2, 3]
    assert found.latest is found[3]
    with pytest.raises(NotFoundError, match="there are 1 to 3"):
        found[4]
    second = datetime(2024, 1, 2, tzinfo=UTC)
    assert found.at(second - timedelta(seconds=1)).number == 1
    assert found.at(second).number == 2
    assert found.at(second + timedelta(days=99)).number == 3
    assert str(found[2]) == "version 2 by ann at 2024-01-02T00:00:00+00:00: step 0"
    assert describe(found[3].changes).startswith("dtype 'count', rename 'mode'")


def test_old_names_lead_to_the_new_ones() -> None:
    found = history(
        (RenameChannel("count", "doors"),),
        (RenameChannel("doors", "gates"), AddChannel(Channel("doors", "bool"))),
        (RemoveChannel("gates"),),
    )
    assert found.aliases(1) == {}
    assert found.aliases(2) == {"count": "doors"}
    assert found.aliases(3) == {"count": "gates"}
    assert found.aliases(4) == {}


def test_evolving_changes_nothing_that_there_was() -> None:
    before = history(*THREE)
    after = evolve(before, [RemoveChannel("humidity")])
    assert after.versions[:3] == before.versions
    assert len(before) == 3
