"""Joining record batches, so that small ones do not become small blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.batches import Column, RecordBatch

__all__ = ["distinct", "join_batches"]


def distinct(lists: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the texts of all lists, each once, in order of first appearance."""
    return tuple(dict.fromkeys(text for texts in lists for text in texts))


def join_batches(batches: Sequence[RecordBatch]) -> RecordBatch:
    """Return the rows of `batches`, which have the same channels, as one batch in their order."""
    if len(batches) == 1:
        return batches[0]
    devices = distinct([batch.devices for batch in batches])
    index = [_recoded(batch.device_index, batch.devices, devices) for batch in batches]
    time = np.concatenate([batch.time for batch in batches])
    columns = {
        name: _join_columns([batch.columns[name] for batch in batches])
        for name in batches[0].columns
    }
    return RecordBatch(devices, np.concatenate(index), time, columns)


def _join_columns(columns: Sequence[Column]) -> Column:
    valid = None
    if any(column.valid is not None for column in columns):
        valid = np.concatenate([_validity(column) for column in columns])
    if columns[0].categories is None:
        return Column(np.concatenate([column.values for column in columns]), valid)
    texts = distinct([column.categories or () for column in columns])
    codes = [_recoded(column.values, column.categories or (), texts) for column in columns]
    return Column(np.concatenate(codes), valid, texts)


def _validity(column: Column) -> NDArray[np.bool_]:
    return np.ones(len(column), np.bool_) if column.valid is None else column.valid


def _recoded(codes: NDArray[Any], texts: Sequence[str], of: Sequence[str]) -> NDArray[np.int32]:
    """Return codes into `texts` as codes into `of`; without texts, codes mean nothing."""
    if not texts:
        return np.zeros(len(codes), np.int32)
    position = {text: at for at, text in enumerate(of)}
    table = np.array([position[text] for text in texts], np.int32)
    recoded: NDArray[np.int32] = table[codes]
    return recoded
