"""The partitioning of a fleet, as given and as stored."""

from __future__ import annotations

import pytest

from pipeline.errors import InvalidInputError
from pipeline.partitioning.scheme import Partitioning
from pipeline.partitioning.windows import WindowLength


def test_defaults() -> None:
    scheme = Partitioning()
    assert scheme.window_length is WindowLength.DAY
    assert scheme.summary_length is WindowLength.DAY
    assert scheme.devices_per_block == 256


def test_json_round_trip() -> None:
    scheme = Partitioning("1 month", 16, "1 day", 100)
    assert Partitioning.from_json(scheme.to_json()) == scheme
    assert scheme.summary_length is WindowLength.DAY


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": "1 day", "summary": "1 month"}, "does not nest"),
        ({"devices_per_block": 0}, "devices_per_block"),
        ({"devices_per_block": 65_537}, "devices_per_block"),
        ({"landing_rows": -1}, "landing_rows"),
        ({"window": "3 days"}, "unknown window"),
    ],
)
def test_impossible_values_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Partitioning(**arguments)  # type: ignore[arg-type]


def test_keys_of_a_newer_version_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="site"):
        Partitioning.from_json({"window": "1 day", "site": "x"})


def test_a_tag_to_partition_by_is_stored_only_where_there_is_one() -> None:
    scheme = Partitioning(by="site")
    assert scheme.to_json()["by"] == "site"
    assert Partitioning.from_json(scheme.to_json()) == scheme
    assert "by" not in Partitioning().to_json()
    with pytest.raises(InvalidInputError, match="name of a tag"):
        Partitioning(by="")
