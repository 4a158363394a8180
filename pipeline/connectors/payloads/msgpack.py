"""MessagePack payloads: a map, or an array of maps."""

from __future__ import annotations

from typing import ClassVar

from pipeline.connectors.payloads.documents import DocumentDecoder
from pipeline.connectors.payloads.formats import MappedFormat, load_library
from pipeline.connectors.payloads.messages import Decoder

__all__ = ["MessagePackPayload"]


class MessagePackPayload(MappedFormat):
    """MessagePack. The timestamp extension type is a time whatever the unit.

    References
    ----------
    MessagePack specification, https://github.com/msgpack/msgpack/blob/master/spec.md
    """

    name: ClassVar[str] = "msgpack"

    def decoder(self) -> Decoder:
        """Return a new decoder, for one stream.

        Raises
        ------
        MissingDependencyError
            If msgspec is not installed.
        """
        decode = load_library("msgspec.msgpack", self.name).Decoder().decode
        return DocumentDecoder(lambda message: decode(message.payload), self.mapping)
