"""How long to wait before trying again."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Backoff"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double, with chance, until patience ends.

    Parameters
    ----------
    first, longest
        Microseconds: the pause after the first failure, and the longest one.
    patience
        Microseconds after the first failure of a row of failures at which to give up.

    References
    ----------
    Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("equal jitter").
    """

    first: int = 200_000
    longest: int = 30_000_000
    patience: int = 600_000_000

    def pause(self, failures: int, chance: float) -> int:
        """Return microseconds to wait.

        Parameters
        ----------
        failures
            In a row, at least 1.
        chance
            At random from [0, 1): writers that failed together must not come back together.
        """
        most = min(self.longest, self.first << min(failures - 1, 40))
        return max(1, int(most * (0.5 + chance / 2)))
