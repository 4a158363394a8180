"""Content of archives is compared by fingerprints: they do not miss a change."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from tests.benchmarks.fingerprints import Fingerprint, fingerprint
from tests.benchmarks.import_bench import check_rows
from tests.benchmarks.outcome import WrongResultError


def batch(device: list[str], temperature: list[float]) -> pa.RecordBatch:
    """Return rows one second apart."""
    times = [datetime.fromtimestamp(1_700_000_000 + at, UTC) for at in range(len(device))]
    return pa.record_batch(
        {
            "device": pa.array(device).dictionary_encode(),
            "time": pa.array(times, pa.timestamp("us", "UTC")),
            "temperature": pa.array(temperature),
        }
    )


ROWS = batch(["a", "b", "b"], [20.5, 20.5, -0.0])


def test_a_fingerprint_does_not_depend_on_order_batches_or_how_devices_are_kept() -> None:
    found = fingerprint([ROWS])
    assert found.rows == 3
    assert fingerprint([ROWS.slice(2), ROWS.slice(0, 2)]) == found
    texts = ROWS.set_column(0, "device", ROWS["device"].cast(pa.string()))
    assert fingerprint([texts.select(["temperature", "time", "device"])]) == found


@pytest.mark.parametrize(
    "other",
    [
        batch(["a", "b", "b"], [20.5, 20.5, 0.0]),
        batch(["a", "b", "c"], [20.5, 20.5, -0.0]),
        batch(["b", "a", "b"], [20.5, 20.5, -0.0]),
        batch(["a", "b", "b"], [20.6, 20.4, -0.0]),
    ],
    ids=["the sign of a zero", "a device", "swapped devices", "values with the same sum"],
)
def test_a_fingerprint_tells_any_change(other: pa.RecordBatch) -> None:
    assert fingerprint([other]) != fingerprint([ROWS])


def test_a_side_that_lost_rows_is_found_out() -> None:
    check_rows("us", Fingerprint(3, 7), Fingerprint(3, 7))
    with pytest.raises(WrongResultError, match="us holds 2 rows"):
        check_rows("us", Fingerprint(2, 7), Fingerprint(3, 7))
