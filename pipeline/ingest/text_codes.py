"""Numbers for the texts of a stream: devices, and categories, of which few kinds come again and again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["CodedTexts", "TextCodes"]

_CODE: Final = np.dtype("<i4")


@dataclass(frozen=True, slots=True)
class CodedTexts:
    """A column of texts as Arrow lays it out, and the code of each.

    Parameters
    ----------
    codes
        ``int32``, little-endian, one a row.
    offsets
        ``int32``, little-endian, one more than there are rows: where each text begins in `data`.
    data
        The texts in UTF-8, one after the other.
    """

    codes: bytes
    offsets: bytes
    data: bytes


class TextCodes:
    """Gives each text a number, in the order in which they come. Any number of threads may ask.

    Parameters
    ----------
    empty
        Whether the empty text is one.
    most
        How many texts may have a code; None for any number.
    """

    def __init__(self, *, empty: bool = True, most: int | None = None) -> None:
        self._empty = empty
        self._most = most
        self._lock = threading.Lock()
        # The bytes of the codes: joining them took half the time of making an array of numbers.
        self._codes: dict[Any, bytes] = {}
        self._texts: list[str] = []
        self._sizes: NDArray[np.int32] = np.zeros(64, _CODE)

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, code: int) -> str:
        return self._texts[code]

    def get(self, text: str) -> int | None:
        """Return the code of a text, None if it has none yet."""
        found = self._codes.get(text)
        return None if found is None else int.from_bytes(found, "little")

    def codes_of(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Return a code for each text, new ones for new texts; ``int32``, shape (rows,).

        Raises
        ------
        ValueError
            If one of them is no text that can have a code.
        """
        found = self._find(texts)
        if found is None:
            msg = "texts are needed, without halves of surrogate pairs"
            raise ValueError(msg)
        return np.frombuffer(found, _CODE)

    def encode(self, texts: Sequence[Any]) -> CodedTexts | None:
        """Return texts with their codes; None if one is missing or cannot have a code.

        Parameters
        ----------
        texts
            At least one; nobody else changes them meanwhile.
        """
        codes = self._find(texts)
        if codes is None:
            return None
        try:
            data = "".join(texts).encode()
        except (TypeError, UnicodeEncodeError):
            # Something that is no text, but equals one.
            return None
        offsets = np.zeros(len(texts) + 1, _CODE)
        np.add.accumulate(self._sizes.take(np.frombuffer(codes, _CODE)), out=offsets[1:])
        if offsets[-1] != len(data):
            return None
        return CodedTexts(codes, offsets.tobytes(), data)

    def _find(self, texts: Sequence[Any]) -> bytes | None:
        """Return the codes of texts as bytes."""
        try:
            try:
                return self._joined(texts)
            except KeyError:
                return self._joined(texts) if self._learn(texts) else None
        except TypeError:  # what cannot be looked up is no text
            return None

    def _joined(self, texts: Sequence[Any]) -> bytes:
        if len(texts) > 1:
            return b"".join(itemgetter(*texts)(self._codes))
        return b"".join([self._codes[text] for text in texts])

    def _learn(self, texts: Sequence[Any]) -> bool:
        """Give codes to new texts; tell whether all of them have one now."""
        with self._lock:
            for text in dict.fromkeys(texts):
                if text in self._codes:
                    continue
                if not isinstance(text, str) or not (text or self._empty):
                    return False
                if self._most is not None and len(self._texts) >= self._most:
                    return False
                try:
                    size = len(text.encode())
                except UnicodeEncodeError:
                    return False
                self._add(str(text), size)
        return True

    def _add(self, text: str, size: int) -> None:
        code = len(self._texts)
        if code == len(self._sizes):
            room = np.zeros(2 * code, _CODE)
            room[:code] = self._sizes
            self._sizes = room
        self._sizes[code] = size
        self._texts.append(text)
        # Last, since it is what others find.
        self._codes[text] = code.to_bytes(4, "little")
