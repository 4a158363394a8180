"""Protobuf payloads, by a given descriptor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pipeline.connectors.payloads.documents import DocumentDecoder
from pipeline.connectors.payloads.formats import MappedFormat, load_library
from pipeline.connectors.payloads.messages import Decoder, Message
from pipeline.connectors.payloads.protobuf_trees import tree_reader
from pipeline.errors import InvalidInputError

__all__ = ["ProtobufPayload", "descriptor_set_of"]


class ProtobufPayload(MappedFormat):
    """Protobuf.

    Fields are named as in the ``.proto`` file. A field without presence (proto3) that a payload
    lacks is its default, such as 0; any other is missing. Enumerations are texts,
    ``google.protobuf.Timestamp`` is an ISO 8601 text, and wrappers are their values.

    Parameters
    ----------
    mapping
        What the fields mean.
    message
        Full name of the message type, such as ``plant.v1.Reading``.
    descriptors
        File of a ``FileDescriptorSet``, as written by ``protoc --include_imports
        --descriptor_set_out``.
    descriptor_set
        Or the set itself; see `descriptor_set_of` for a generated class.
    framing
        ``"single"``: a payload is one message. ``"delimited"``: any number of messages, each
        behind its length as a varint. ``"confluent"``: one message behind a zero byte, a schema
        id and the indexes of the message type.

    Raises
    ------
    pydantic.ValidationError
        If not exactly one of `descriptors` and `descriptor_set` is given.

    References
    ----------
    Protocol Buffers, Encoding, https://protobuf.dev/programming-guides/encoding/
    """

    name: ClassVar[str] = "protobuf"

    message: str
    descriptors: Path | None = None
    descriptor_set: bytes = Field(default=b"", repr=False)
    framing: Literal["single", "delimited", "confluent"] = "single"

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.descriptors is None) == (not self.descriptor_set):
            msg = "give one of descriptors (a file) and descriptor_set (its bytes)"
            raise ValueError(msg)
        return self

    def decoder(self) -> Decoder:
        """Return a new decoder, for one stream.

        Raises
        ------
        InvalidInputError
            If the descriptors cannot be read or do not describe the message.
        MissingDependencyError
            If protobuf is not installed.
        """
        kind = _message_class(self._described(), self.message)
        parse, read = kind.FromString, tree_reader(kind.DESCRIPTOR)
        frames = _FRAMES[self.framing]

        def load(message: Message) -> Any:
            if not message.payload:
                msg = "the payload is empty; no message can be told from one of defaults only"
                raise InvalidInputError(msg)
            trees = [read(_parsed(parse, frame)) for frame in frames(message.payload)]
            return trees if len(trees) != 1 else trees[0]

        return DocumentDecoder(load, self.mapping)

    def _described(self) -> bytes:
        if self.descriptors is None:
            return self.descriptor_set
        try:
            return self.descriptors.read_bytes()
        except OSError as error:
            msg = f"descriptors {str(self.descriptors)!r} cannot be read: {error}"
            raise InvalidInputError(msg) from error


def descriptor_set_of(message_class: Any) -> bytes:
    """Return the ``FileDescriptorSet`` of a generated message class and all that it imports.

    Raises
    ------
    MissingDependencyError
        If protobuf is not installed.
    """
    descriptors = load_library("google.protobuf.descriptor_pb2", ProtobufPayload.name)
    files: dict[str, Any] = {}

    def add(file: Any) -> None:
        for needed in file.dependencies:
            add(needed)
        if file.name not in files:
            files[file.name] = descriptors.FileDescriptorProto.FromString(file.serialized_pb)

    add(message_class.DESCRIPTOR.file)
    found: bytes = descriptors.FileDescriptorSet(file=files.values()).SerializeToString()
    return found


def _message_class(described: bytes, name: str) -> Any:
    descriptors = load_library("google.protobuf.descriptor_pb2", ProtobufPayload.name)
    pools = load_library("google.protobuf.descriptor_pool", ProtobufPayload.name)
    factory = load_library("google.protobuf.message_factory", ProtobufPayload.name)
    pool = pools.DescriptorPool()
    try:
        for file in descriptors.FileDescriptorSet.FromString(described).file:
            pool.AddSerializedFile(file.SerializeToString())
        return factory.GetMessageClass(pool.FindMessageTypeByName(name))
    except Exception as error:  # DecodeError, TypeError, KeyError, by what is wrong
        msg = (
            f"protobuf message {name!r} is not described ({error}); write the descriptors with "
            "protoc --include_imports --descriptor_set_out"
        )
        raise InvalidInputError(msg) from error


def _parsed(parse: Callable[[bytes], Any], frame: bytes) -> Any:
    try:
        return parse(frame)
    except Exception as error:
        msg = f"the payload is not a protobuf message of this type: {error}"
        raise InvalidInputError(msg) from error


def _single(payload: bytes) -> Iterator[bytes]:
    yield payload


def _delimited(payload: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(payload):
        length, at = _varint(payload, at)
        if at + length > len(payload):
            msg = f"a message of {length} bytes is announced where {len(payload) - at} are left"
            raise InvalidInputError(msg)
        yield payload[at : at + length]
        at += length


def _confluent(payload: bytes) -> Iterator[bytes]:
    if len(payload) < 6 or payload[0] != 0:
        msg = "the payload does not begin with a zero byte and the id of a schema"
        raise InvalidInputError(msg)
    count, at = _varint(payload, 5)
    for _ in range(min(count >> 1, len(payload))):  # indexes are zigzag varints, as is their count
        _, at = _varint(payload, at)
    yield payload[at:]


def _varint(payload: bytes, at: int) -> tuple[int, int]:
    """Return a number and where the next byte stands."""
    value = 0
    for place, byte in enumerate(payload[at : at + 10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    msg = "a varint does not end"
    raise InvalidInputError(msg)


_FRAMES = {"single": _single, "delimited": _delimited, "confluent": _confluent}
