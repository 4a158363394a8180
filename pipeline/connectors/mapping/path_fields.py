"""What the names of files and their folders tell: fields that all rows of a file share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from string import Formatter

import pyarrow as pa

from pipeline.errors import InvalidInputError

__all__ = ["PathFields"]


@dataclass(frozen=True)
class PathFields:
    """A template that the ends of paths match.

    Parameters
    ----------
    template
        Such as ``"{site}/{device}.csv"`` or ``"{device}_{day}.csv.gz"``. A name in braces is a
        part of one folder's or file's name; as many levels count as the template has. Empty for
        any path.

    Raises
    ------
    InvalidInputError
        If braces do not pair up, or a name is no name or occurs twice.

    Examples
    --------
    >>> PathFields("{site}/{device}.csv").read("/data/bergen/pump-4.csv")
    {'site': 'bergen', 'device': 'pump-4'}
    """

    template: str = ""

    def __post_init__(self) -> None:
        problem = ""
        try:
            names = self.names
            if any(spec or conversion for _, _, spec, conversion in self._pieces()):
                problem = "names in braces take no format"
        except ValueError as error:
            problem, names = str(error), ()
        if not all(name.isidentifier() for name in names):
            problem = "names in braces are of letters, digits and underscores"
        elif len(set(names)) < len(names):
            problem = "a name occurs twice"
        if problem:
            raise InvalidInputError(f"path template {self.template!r}: {problem}")

    def _pieces(self) -> list[tuple[str, str | None, str | None, str | None]]:
        return list(Formatter().parse(self.template))

    @property
    def names(self) -> tuple[str, ...]:
        """The names in braces."""
        return tuple(name for _, name, _, _ in self._pieces() if name is not None)

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        parts = []
        for literal, name, _, _ in self._pieces():
            parts.append(re.escape(literal))
            if name is not None:
                parts.append(f"(?P<{name}>[^/]+?)")
        return re.compile(f"(?:^|.*/){''.join(parts)}", re.DOTALL)

    def read(self, path: str) -> Mapping[str, str]:
        """Return the fields that a path tells.

        Raises
        ------
        InvalidInputError
            If the template does not match.
        """
        if not self.template:
            return {}
        found = self._expression.fullmatch(path)
        if found is None:
            msg = f"file {path!r} does not match the path template {self.template!r}; correct path_fields, or narrow the path down to files that do"
            raise InvalidInputError(msg)
        return found.groupdict()

    def columns(self, path: str, rows: int) -> dict[str, pa.Array]:
        """Return the fields as columns of texts, each of shape (rows,)."""
        return {
            name: pa.repeat(pa.scalar(text, pa.string()), rows)
            for name, text in self.read(path).items()
        }
