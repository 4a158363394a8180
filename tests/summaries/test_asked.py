"""What may be asked of a channel, and what may not."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import InvalidInputError
from pipeline.summaries.asked import Statistic, check_statistics, histogram, parse_statistics


@pytest.mark.parametrize(
    ("text", "quantile"),
    [("median", 0.5), ("p0", 0.0), ("p95", 0.95), ("p99.9", 0.999), ("p100", 1)],
)
def test_percentiles_by_name(text: str, quantile: float) -> None:
    statistic = Statistic.parse(text)
    assert (statistic.label, statistic.quantile) == (text, quantile)
    assert not statistic.is_stored


def test_histograms_from_text_and_from_arrays_are_the_same() -> None:
    assert Statistic.parse("histogram(0, 2.5,1e3)") == histogram(np.array([0, 2.5, 1000]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("avg", "use one of count, min"),
        ("p101", "unknown statistic 'p101'"),
        ("percentile", "unknown"),
        ("histogram", "unknown"),
        ("histogram(1)", "two or more"),
        ("histogram(1, 1)", "ascending"),
        ("histogram(0, inf)", "finite"),
        ("histogram(0, many)", "separated by commas"),
    ],
)
def test_names_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Statistic.parse(text)


def test_each_statistic_once_and_in_order() -> None:
    found = parse_statistics(["max", "p95", "max"], "t")
    assert [statistic.label for statistic in found] == ["max", "p95"]
    assert parse_statistics("mean", "t") == (Statistic.parse("mean"),)
    with pytest.raises(InvalidInputError, match="'t': two different histograms"):
        parse_statistics(["histogram(0,1)", "histogram(0,2)"], "t")
    with pytest.raises(InvalidInputError, match="channel 't': unknown"):
        parse_statistics(["best"], "t")


@pytest.mark.parametrize(
    ("name", "dtype", "message"),
    [
        ("mean", "category", "holds categories, which have count, first, last"),
        ("median", "bool", "holds bools"),
        ("time_in_state", "float64", "holds numbers"),
        ("time_weighted_mean", "bool", "time_weighted_mean_previous"),
    ],
)
def test_statistics_that_a_channel_does_not_have(name: str, dtype: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check_statistics(parse_statistics(name, "c"), "c", dtype, merged=False)


@pytest.mark.parametrize("name", ["first", "last", "delta", "rate"])
def test_statistics_that_devices_do_not_share(name: str) -> None:
    with pytest.raises(InvalidInputError, match="leave out by="):
        check_statistics(parse_statistics(name, "c"), "c", "float64", merged=True)
