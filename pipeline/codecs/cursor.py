"""Reading and writing the small numbers between a block's byte streams.

Numbers are LEB128: seven bits a byte, low bits first, at most ten bytes. Signed ones are
zigzagged first (0, -1, 1, -2 … become 0, 1, 2, 3 …).

References
----------
LEB128: DWARF Debugging Information Format, version 5, section 7.6.
"""

from __future__ import annotations

from typing import Final

from pipeline.errors import CorruptBlockError

__all__ = ["WORD", "Cursor", "as_signed", "signed_varint", "sized", "varint"]

WORD: Final = 0xFFFFFFFFFFFFFFFF
"""All ones; numbers are kept modulo one more than this."""


_BYTES: Final = tuple(bytes((number,)) for number in range(128))


def as_signed(number: int) -> int:
    """Return `number` modulo 2**64 as an int64."""
    return ((number & WORD) ^ (1 << 63)) - (1 << 63)


def varint(number: int) -> bytes:
    """Return `number`, at least 0 and below 2**64, as LEB128."""
    if number < 128:
        return _BYTES[number]
    out = bytearray()
    while number >= 128:
        out.append((number & 127) | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def signed_varint(number: int) -> bytes:
    """Return `number`, modulo 2**64, as an int64 zigzagged and as LEB128."""
    signed = as_signed(number)
    return varint(((signed << 1) ^ (signed >> 63)) & WORD)


def sized(body: bytes) -> bytes:
    """Return `body` behind its own length."""
    return varint(len(body)) + body


class Cursor:
    """A place in untrusted bytes that only moves forward and never leaves them.

    Parameters
    ----------
    data : memoryview
        Bytes to read; not copied.
    start, stop : int, optional
        Where to begin, and where the bytes to read end.
    """

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: memoryview, start: int = 0, stop: int | None = None) -> None:
        self._data = data
        self._at = start
        self._end = len(data) if stop is None else stop

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return self._end - self._at

    def take(self, size: int) -> memoryview:
        """Return the next `size` bytes.

        Raises
        ------
        CorruptBlockError
            If fewer are left.
        """
        start = self._at
        if size > self._end - start:
            raise CorruptBlockError(f"needs {size} bytes where {self._end - start} are left")
        self._at = start + size
        return self._data[start : self._at]

    def ahead(self) -> memoryview:
        """Return all bytes that are left, and stay before them."""
        return self._data[self._at : self._end]

    def rest(self) -> memoryview:
        """Return all bytes that are left."""
        return self.take(self._end - self._at)

    def byte(self) -> int:
        """Return the next byte as a number."""
        at = self._at
        if at >= self._end:
            raise CorruptBlockError("needs 1 bytes where 0 are left")
        self._at = at + 1
        return self._data[at]

    def varint(self, limit: int = WORD) -> int:
        """Return the next number.

        Raises
        ------
        CorruptBlockError
            If it runs on beyond 64 bits or is greater than `limit`.
        """
        number = self.byte()
        if number > 127:
            number = self._go_on(number & 127)
        if number > limit:
            raise CorruptBlockError(f"holds {number} where at most {limit} is possible")
        return number

    def _go_on(self, number: int) -> int:
        for shift in range(7, 64, 7):
            byte = self.byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise CorruptBlockError("holds a number of more than 64 bits")

    def signed_varint(self) -> int:
        """Return the next zigzagged number."""
        folded = self.varint()
        return (folded >> 1) ^ -(folded & 1)

    def sized(self) -> Cursor:
        """Return a cursor over the next bytes, whose number stands before them."""
        return Cursor(self.take(self.varint()))

    def finish(self) -> None:
        """Make sure that nothing is left.

        Raises
        ------
        CorruptBlockError
            If bytes are left.
        """
        if self.left:
            raise CorruptBlockError(f"has {self.left} bytes too many")
