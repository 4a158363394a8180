"""Carrying out the parts of a question: on the cores of this machine, or on a Dask cluster.

What the parts are and in which order their results are merged never depends on where they are
carried out, so that the numbers are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any, Final, Protocol
from uuid import uuid4

from pipeline.archive.chunk_io import ahead

__all__ = ["FAN_IN", "Executor", "OnCluster", "Threads", "executor_of"]

FAN_IN: Final = 8
"""Results that are merged at a time."""


class Executor(Protocol):
    """Where the parts of a question are carried out."""

    def reduce[A, B, C](
        self,
        function: Callable[[A, B], C],
        shared: A,
        parts: Sequence[B],
        merge: Callable[[Sequence[C]], C],
    ) -> C:
        """Apply a function to every part and merge the results as a tree.

        Parameters
        ----------
        function
            Is given what is shared, and a part.
        shared
            What all parts need.
        parts
            At least one.
        merge
            Is given up to `FAN_IN` results, in the order of their parts.
        """


@dataclass(frozen=True, slots=True)
class Threads:
    """The cores of this machine."""

    def reduce[A, B, C](
        self,
        function: Callable[[A, B], C],
        shared: A,
        parts: Sequence[B],
        merge: Callable[[Sequence[C]], C],
    ) -> C:
        """Apply a function to every part and merge the results as a tree."""
        # Merged as soon as enough of them are there: few results are held at a time.
        levels: list[list[C]] = [[]]
        for result in ahead(lambda part: function(shared, part), parts):
            levels[0].append(result)
            for level, waiting in enumerate(levels):
                if len(waiting) < FAN_IN:
                    break
                if level + 1 == len(levels):
                    levels.append([])
                levels[level + 1].append(merge(waiting.copy()))
                waiting.clear()
        return _merged_rest(levels, merge)


@dataclass(frozen=True, slots=True, eq=False)
class OnCluster:
    """The workers of a Dask cluster.

    Parameters
    ----------
    client
        A `distributed.Client`.
    """

    client: Any

    def reduce[A, B, C](
        self,
        function: Callable[[A, B], C],
        shared: A,
        parts: Sequence[B],
        merge: Callable[[Sequence[C]], C],
    ) -> C:
        """Apply a function to every part and merge the results as a tree, all on the workers."""
        client, name = self.client, f"answer-{uuid4().hex}"
        known = client.scatter(shared, broadcast=True, hash=False)
        results = [
            client.submit(function, known, part, key=f"{name}-{at}", pure=False)
            for at, part in enumerate(parts)
        ]
        level = 0
        while len(results) > 1:
            level += 1
            results = [
                client.submit(merge, list(group), key=f"{name}-merge-{level}-{at}", pure=False)
                for at, group in enumerate(batched(results, FAN_IN))
            ]
        found: C = results[0].result()
        return found


def _merged_rest[C](levels: list[list[C]], merge: Callable[[Sequence[C]], C]) -> C:
    """Merge what is left at every level of a tree, the lowest first."""
    level = 0
    while level + 1 < len(levels) or len(levels[level]) > 1:
        if levels[level]:
            if level + 1 == len(levels):
                levels.append([])
            levels[level + 1].append(merge(levels[level]))
        level += 1
    return levels[level][0]


def executor_of(client: Any) -> Executor:
    """Return where a question is answered: a client's cluster, or here if it is None."""
    return Threads() if client is None else OnCluster(client)
