"""An import's memory is bounded, and the bound is a function of named sizes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.jobs.memory import ImportSizes, choose_sizes, estimate_memory, row_bytes
from pipeline.schema.channels import Channel, Schema

GB = 1 << 30


def estimate(sizes: ImportSizes, width: int) -> int:
    return estimate_memory(
        row_bytes=width,
        part_rows=sizes.part_rows,
        reading=sizes.reading,
        group_rows=sizes.group_rows,
    )


def test_a_row_is_its_time_its_device_and_its_values() -> None:
    schema = Schema([Channel("a", "float64"), Channel("b", "int8"), Channel("c", "category")])
    assert row_bytes(schema) == 12 + 9 + 2 + 5


def test_the_estimate_grows_with_every_size() -> None:
    sizes = {"row_bytes": 20, "part_rows": 1000, "reading": 2, "group_rows": 5000}
    once = estimate_memory(**sizes)
    assert all(estimate_memory(**{**sizes, name: 2 * size}) > once for name, size in sizes.items())


def test_plenty_of_memory_gives_the_largest_sizes() -> None:
    assert choose_sizes(64 * GB, 20, 2) == ImportSizes(reading=4)


@given(memory=st.integers(2 * GB, 1 << 40), width=st.integers(13, 500), threads=st.integers(1, 8))
def test_half_of_the_memory_is_enough(memory: int, width: int, threads: int) -> None:
    sizes = choose_sizes(memory, width, threads)
    assert estimate(sizes, width) <= memory / 2
    assert sizes.reading >= threads


def test_small_memory_gives_the_least_sizes() -> None:
    sizes = choose_sizes(1, 20, 2)
    assert (sizes.part_rows, sizes.group_rows) == (16_384, 32_768)
