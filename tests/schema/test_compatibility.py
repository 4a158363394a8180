from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.errors import InvalidInputError, NotFoundError, SchemaError
from pipeline.schema import functions
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
    SplitChannel,
)
from pipeline.schema.channels import Channel
from pipeline.schema.compatibility import Compatibility, check_compatibility, compare
from pipeline.schema.functions import register_function
from pipeline.schema.policies import SchemaPolicies
from tests.schema.histories import THREE, history

HALVES = (Channel("low", "int8"), Channel("high", "int8"))


@pytest.mark.parametrize(
    ("change", "backward", "forward"),
    [
        (AddChannel(Channel("x", "int8")), True, True),
        (RemoveChannel("open"), True, False),
        (RenameChannel("open", "ajar"), True, True),
        (Describe("open", "?"), True, True),
        (ChangeRange("count", (0, 5)), True, True),
        (ChangeDtype("count", "int64"), True, False),
        (ChangeDtype("count", "int8"), False, True),
        (ChangeDtype("count", "uint16"), False, False),
        (ChangeDtype("count", "float64"), True, False),
        (ChangeDtype("count", "float32"), True, False),
        (ChangeDtype("count", "bool"), False, True),
        (ChangeDtype("open", "int8"), True, False),
        (ChangeDtype("open", "category"), True, False),
        (ChangeDtype("mode", "int8"), False, False),
        (ChangeDtype("count", "category", texts=((0, "a"),)), False, False),
        (ChangeDtype("temperature", "float32", tolerance=0.01), True, True),
        (ChangeDtype("temperature", "int16", tolerance=0.5), False, True),
        (ChangeUnits("temperature", "degC", 5, -160, 9), True, True),
        (ChangeUnits("count", "dozen", 12), False, False),
        (Categories("mode", renamed=(("a", "b"),)), True, True),
        (Categories("mode", renamed=(("a", "c"), ("b", "c"))), True, False),
        (Categories("mode", allowed=("a", "b")), False, True),
        (SplitChannel("count", HALVES, "halves"), True, True),
        (SplitChannel("count", HALVES, "one way"), True, False),
        (SplitChannel("count", HALVES, "unknown here"), True, False),
        (MergeChannels(("count", "open"), Channel("sum", "int32"), "one way"), True, False),
    ],
)
def test_what_changes_mean_for_readers(
    change: Change, backward: bool, forward: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions, "_REGISTERED", {})
    register_function("halves", 1, np.divmod, np.add)
    register_function("one way", 1, np.divmod)
    report = compare(history((change,)), 1, 2)
    assert (report.backward, report.forward) == (backward, forward), str(report)
    assert report.full is (backward and forward)
    assert all(reason.version == 2 for reason in report.reasons)


def test_opening_a_closed_set_of_texts_again() -> None:
    closed = history((Categories("mode", ("a",)),), (Categories("mode", None),))
    report = compare(closed, 2, 3)
    assert (report.backward, report.forward) == (True, False)


def test_reports_add_up_over_versions() -> None:
    found = history(*THREE)
    assert compare(found, 1, 2).full
    report = compare(found, 1, 3)
    assert (report.backward, report.forward) == (True, False)
    broken = [one for one in report.reasons if one.breaks]
    assert {one.channel for one in broken} == {"count", "open"}
    assert "forward breaks: version 3, dtype 'count': values of int64 may not fit int16" in str(
        report
    )
    assert json.loads(json.dumps(report.to_json()))["full"] is False
    assert compare(found, 3, 3).full
    with pytest.raises(InvalidInputError, match="older version first"):
        compare(found, 3, 1)
    with pytest.raises(NotFoundError):
        compare(found, 1, 9)


def test_policies_refuse_with_reasons() -> None:
    found = history(*THREE)
    assert not check_compatibility(found, Compatibility.NONE).full
    assert check_compatibility(found, Compatibility.BACKWARD).backward
    with pytest.raises(SchemaError, match=r"not full compatible with version 2(.|\n)*'open'"):
        check_compatibility(found, Compatibility.FULL)
    assert check_compatibility(history(), Compatibility.FULL).full


def test_policies_go_through_json() -> None:
    policies = SchemaPolicies(Compatibility.FULL, "add", "keep")
    assert SchemaPolicies.from_json(json.loads(json.dumps(policies.to_json()))) == policies
    assert SchemaPolicies.from_json(None) == SchemaPolicies()
    assert SchemaPolicies("backward").compatibility is Compatibility.BACKWARD  # type: ignore[arg-type]
    for wrong in ({"unknown": "drop"}, {"older": "burn"}, {"compatibility": "some"}):
        with pytest.raises(InvalidInputError, match="use one of"):
            SchemaPolicies.from_json(wrong)
    with pytest.raises(InvalidInputError, match="upgrade"):
        SchemaPolicies.from_json({"colour": "red"})
