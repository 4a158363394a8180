"""Answers of different systems made alike, and compared."""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import xarray as xr

from tests.benchmarks.outcome import WrongResultError
from tests.benchmarks.query_data import Dataset
from tests.benchmarks.query_questions import Question

__all__ = ["check_answer", "tidy_answer"]

_TOLERANCE: Final = 1e-9  # sums of floats depend on their order
_RENAMED: Final = {"tags_id": "device", "start": "time", "newest": "time"}


def tidy_answer(answer: Any, question: Question, data: Dataset) -> pd.DataFrame:
    """Return an answer as a frame sorted by its keys.

    Devices are numbers, times ``datetime64[us]``, counts ``float64``, missing texts empty; columns
    are in the order of their names.

    Parameters
    ----------
    answer
        A frame, an Arrow table, or a dataset whose variables are named ``<channel>_<statistic>``.
    question
        What was asked.
    data
        The data set, which tells the numbers of devices.
    """
    frame = _frame(answer).rename(columns=_RENAMED)
    for name in frame:
        frame[name] = _tidy_column(frame[name], str(name), data)
    frame = frame.sort_values(list(question.keys), ignore_index=True)
    return frame[sorted(frame.columns)]


def _frame(answer: Any) -> pd.DataFrame:
    if isinstance(answer, pa.Table):
        return pd.DataFrame(answer.to_pandas(strings_to_categorical=False))
    if isinstance(answer, xr.Dataset):
        # A cell without readings is no row of SQL's.
        frame = answer.to_dataframe().reset_index().dropna()
        return frame.rename(columns=lambda name: name.removesuffix("_max").removesuffix("_mean"))
    return pd.DataFrame(answer)


def _tidy_column(column: pd.Series[Any], name: str, data: Dataset) -> Any:
    if name == "device" and not pd.api.types.is_numeric_dtype(column):
        numbers = pd.Series(np.arange(len(data.tags)), index=data.tags["device"])
        return numbers.loc[column.astype(str)].to_numpy()
    if name in ("time", "day"):
        # ClickHouse hands over a time of whole seconds as their number.
        unit: Literal["s"] | None = "s" if pd.api.types.is_integer_dtype(column) else None
        times = pd.to_datetime(column, unit=unit, utc=True).dt.tz_localize(None)
        return times.astype("datetime64[us]").to_numpy()
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(np.float64, na_value=np.nan)
    return column.astype(object).where(column.notna(), "").astype(str).to_numpy(object)


def check_answer(
    system: str, question: Question, answer: pd.DataFrame, expected: pd.DataFrame
) -> None:
    """Compare two tidy answers.

    Raises
    ------
    WrongResultError
        If they differ by more than the order of a sum does.
    """
    try:
        pd.testing.assert_frame_equal(
            answer, expected, check_dtype=False, rtol=_TOLERANCE, atol=_TOLERANCE
        )
    except AssertionError as error:
        msg = f"{system} answers {question.name} differently from pandas: {error}"
        raise WrongResultError(msg) from error
