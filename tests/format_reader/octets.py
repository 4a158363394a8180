"""FORMAT.md, "Numbers", "Buffers", "Checksums": what blocks are made of.

This package is written from FORMAT.md alone, for clarity, not speed, and imports nothing of the
archive's own: what it reads, a reader in any language can.
"""

from __future__ import annotations

from numcodecs.zstd import Zstd

__all__ = ["Octets", "crc32c", "signed", "unfold"]

MASK = (1 << 64) - 1


def unfold(number: int) -> int:
    """Undo zigzag."""
    return (number >> 1) ^ -(number & 1)


def signed(number: int) -> int:
    """Take a number modulo 2**64 as an int64."""
    return ((number & MASK) ^ (1 << 63)) - (1 << 63)


def _remainders() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_REMAINDERS = _remainders()


def crc32c(data: bytes) -> int:
    """Return the checksum of some bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _REMAINDERS[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


class Octets:
    """Bytes that are read from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        assert 0 <= size <= len(self.data) - self.at, "cut short"
        self.at += size
        return self.data[self.at - size : self.at]

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        """Read LEB128."""
        number = shift = 0
        while True:
            byte = self.byte()
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    def signed(self) -> int:
        """Read zigzag LEB128."""
        return unfold(self.number())

    def sized(self) -> Octets:
        """Read a length and so many bytes."""
        return Octets(self.take(self.number()))

    def buffer(self, size: int) -> bytes:
        """Read a buffer of so many bytes."""
        tag = self.number()
        mode, stored = tag & 3, self.take(tag >> 2)
        if mode == 1:
            stored = bytes(Zstd().decode(b"\x28\xb5\x2f\xfd" + stored))
        elif mode == 2:
            stored *= size
        assert len(stored) == size
        return stored
