"""CBOR payloads: a map, an array of maps, or a sequence of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, ClassVar

from pipeline.connectors.payloads.documents import DocumentDecoder
from pipeline.connectors.payloads.formats import MappedFormat, load_library
from pipeline.connectors.payloads.members import Unreadable
from pipeline.connectors.payloads.messages import Decoder, Message

__all__ = ["CborPayload", "cbor_reader"]


class CborPayload(MappedFormat):
    """CBOR. Values tagged as times are times whatever the unit.

    References
    ----------
    RFC 8949, Concise Binary Object Representation (CBOR).
    RFC 8742, Concise Binary Object Representation (CBOR) Sequences.
    """

    name: ClassVar[str] = "cbor"

    def decoder(self) -> Decoder:
        """Return a new decoder, for one stream.

        Raises
        ------
        MissingDependencyError
            If cbor2 is not installed.
        """
        return DocumentDecoder(cbor_reader(self.name), self.mapping)


def cbor_reader(name: str) -> Callable[[Message], Any]:
    """Return a function that reads a payload as a tree, or as a list of those of a sequence.

    Parameters
    ----------
    name
        Of the format, for the error if cbor2 is not installed.
    """
    cbor2 = load_library("cbor2", name)

    def read(message: Message) -> Any:
        payload = message.payload
        stream = io.BytesIO(payload)
        decoder = cbor2.CBORDecoder(stream)
        documents = [decoder.decode()]
        while stream.tell() < len(payload):
            try:
                documents.append(decoder.decode())
            except Exception as error:  # its errors are of many kinds
                documents.append(Unreadable(f"an item is not valid CBOR: {error}"))
                break
        return documents if len(documents) > 1 else documents[0]

    return read
