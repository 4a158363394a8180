"""Answers of the systems of benchmark query are compared, and a wrong one is found out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xarray as xr

from tests.benchmarks.outcome import WrongResultError
from tests.benchmarks.query_answers import check_answer, tidy_answer
from tests.benchmarks.query_data import START, Dataset, make_dataset
from tests.benchmarks.query_questions import QUESTIONS, Question

HOURLY = next(question for question in QUESTIONS if question.name == "double-groupby-1")
AT = np.datetime64("2016-01-01T01:00", "us")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder: Path = tmp_path_factory.mktemp("data")
    return make_dataset("cpu", 3, 0.1, folder)


def test_a_data_set_is_the_same_for_all_systems(data: Dataset) -> None:
    assert len(data.rows) == 3 * 864
    keys = data.rows[["device", "time"]]
    assert keys.equals(keys.sort_values(["device", "time"], ignore_index=True))
    stored = pd.read_parquet(data.parquet).drop(columns="day")
    pd.testing.assert_frame_equal(stored, data.rows, check_dtype=False)
    assert sum(map(len, data.intakes())) == len(data.rows)
    assert data.stop - START == np.timedelta64(8640, "s")


def test_answers_of_all_kinds_are_made_alike(data: Dataset) -> None:
    expected = pd.DataFrame({"device": [0, 2], "time": [AT, AT], "usage_user": [1.5, 2.0]})
    cells = np.array([[1.5], [np.nan], [2.0]])
    ours = xr.Dataset(
        {"usage_user_mean": (("device", "time"), cells)},
        coords={"device": ["host_0", "host_1", "host_2"], "time": [AT]},
    )
    seconds = int(AT.astype("M8[s]").astype(np.int64))
    moment = datetime.fromtimestamp(seconds, UTC)
    columns: dict[str, Any] = {"tags_id": [2, 0], "usage_user": [2.0, 1.5]}
    times = (pa.array([moment] * 2, pa.timestamp("us", "UTC")), pa.array([seconds] * 2))
    answers = [expected, ours, *(pa.table({**columns, "start": time}) for time in times)]
    wanted = tidy_answer(expected, HOURLY, data)
    for answer in answers:
        check_answer("one", HOURLY, tidy_answer(answer, HOURLY, data), wanted)


@pytest.mark.parametrize(
    "wrong",
    [
        {"device": [0, 2], "time": [AT, AT], "usage_user": [1.5, 2.001]},
        {"device": [0, 1], "time": [AT, AT], "usage_user": [1.5, 2.0]},
        {"device": [0], "time": [AT], "usage_user": [1.5]},
        {"device": [0, 2], "time": [AT, AT]},
    ],
    ids=["a value", "a device", "a row too few", "a column too few"],
)
def test_a_wrong_answer_is_found_out(data: Dataset, wrong: dict[str, Any]) -> None:
    right = {"device": [0, 2], "time": [AT, AT], "usage_user": [1.5, 2.0]}
    frames = [tidy_answer(pd.DataFrame(one), HOURLY, data) for one in (wrong, right)]
    with pytest.raises(WrongResultError, match="one answers double-groupby-1 differently"):
        check_answer("one", HOURLY, *frames)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_parameters_lie_inside_the_data(question: Question, data: Dataset) -> None:
    rng = np.random.default_rng(1)
    draws = [question.draw(rng, data) for _ in range(20)]
    assert all(START <= draw.start < draw.stop <= data.stop for draw in draws)
    assert all(len(draw.devices) == min(question.devices, 3) for draw in draws)
    assert all(bool(draw.fleet) is question.by_fleet for draw in draws)
    assert question.is_fixed is (len({str(draw) for draw in draws}) == 1 and not question.hours)
