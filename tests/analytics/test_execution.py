"""Parts of a question are merged as the same tree wherever they are carried out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from distributed import Client, LocalCluster

from pipeline.analytics.execution import FAN_IN, OnCluster, Threads, executor_of


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with (
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as connected,  # type: ignore[no-untyped-call]
    ):
        yield connected


def text(shared: str, part: int) -> str:
    return f"{shared}{part}"


def bracketed(parts: Sequence[str]) -> str:
    assert len(parts) <= FAN_IN
    return f"({' '.join(parts)})"


@pytest.mark.parametrize("parts", [1, 2, 7, 8, 9, 16, 63, 64, 65, 73, 513])
def test_the_tree_is_the_same_here_and_on_a_cluster(parts: int, client: Any) -> None:
    here = executor_of(None).reduce(text, "p", range(parts), bracketed)
    there = executor_of(client).reduce(text, "p", range(parts), bracketed)
    assert here == there
    assert [f"p{at}" for at in range(parts)] == here.replace("(", "").replace(")", "").split()


def test_without_a_client_threads_do_it() -> None:
    assert executor_of(None) == Threads()
    assert isinstance(executor_of("client"), OnCluster)


def test_an_error_in_a_part_is_raised() -> None:
    def fails(shared: str, part: int) -> str:
        raise ValueError(f"{shared}{part}")

    with pytest.raises(ValueError, match="p0"):
        Threads().reduce(fails, "p", range(3), bracketed)
