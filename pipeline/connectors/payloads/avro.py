"""Avro payloads, by a given schema or by the ids of given schemas."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from pydantic import Field, model_validator

from pipeline.connectors.payloads.documents import DocumentDecoder
from pipeline.connectors.payloads.formats import MappedFormat, load_library
from pipeline.connectors.payloads.messages import Decoder, Message
from pipeline.errors import InvalidInputError

__all__ = ["AvroPayload"]

type SchemaSource = dict[str, Any] | list[Any] | str
"""An Avro schema, or the path of a file that holds one in JSON."""

_HEAD: Final = 5  # a zero byte and the schema's id


class AvroPayload(MappedFormat):
    """Avro, one datum a message; an array of records is a batch.

    Logical types of times are times whatever the unit.

    Parameters
    ----------
    mapping
        What the fields mean.
    written_by
        The schema by which all payloads are written, which begin with the datum itself.
    registered
        Or schemas by their ids, for payloads in the wire format of Confluent: a zero byte, the
        id of the schema in four bytes, and the datum.

    Raises
    ------
    pydantic.ValidationError
        If not exactly one of them is given.

    References
    ----------
    Apache Avro 1.12.0 Specification, https://avro.apache.org/docs/1.12.0/specification/
    Confluent, Formats, Serializers, and Deserializers: Wire format,
    https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/
    """

    name: ClassVar[str] = "avro"

    written_by: SchemaSource | None = None
    registered: dict[int, SchemaSource] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.written_by is None) == (not self.registered):
            msg = "give one of written_by (a schema) and registered (schemas by id)"
            raise ValueError(msg)
        return self

    def decoder(self) -> Decoder:
        """Return a new decoder, for one stream.

        Raises
        ------
        InvalidInputError
            If a schema is wrong or its file cannot be read.
        MissingDependencyError
            If fastavro is not installed.
        """
        fastavro = load_library("fastavro", self.name)
        if self.written_by is not None:
            schema = _parsed(fastavro, self.written_by)
            return DocumentDecoder(_plain(fastavro, schema), self.mapping)
        schemas = {number: _parsed(fastavro, given) for number, given in self.registered.items()}
        return DocumentDecoder(_framed(fastavro, schemas), self.mapping)


def _parsed(fastavro: Any, given: SchemaSource) -> Any:
    try:
        schema = json.loads(Path(given).read_bytes()) if isinstance(given, str) else given
        return fastavro.parse_schema(schema)
    except Exception as error:  # fastavro's errors have no common root
        msg = f"avro schema {given!r} cannot be used: {error}"
        raise InvalidInputError(msg) from error


def _plain(fastavro: Any, schema: Any) -> Callable[[Message], Any]:
    def load(message: Message) -> Any:
        return _datum(fastavro, message.payload, schema)

    return load


def _framed(fastavro: Any, schemas: dict[int, Any]) -> Callable[[Message], Any]:
    def load(message: Message) -> Any:
        payload = message.payload
        if len(payload) < _HEAD or payload[0] != 0:
            msg = "the payload does not begin with a zero byte and the id of a schema"
            raise InvalidInputError(msg)
        number = int.from_bytes(payload[1:_HEAD], "big")
        if number not in schemas:
            msg = f"schema {number} is not among those declared ({sorted(schemas)}); add it"
            raise InvalidInputError(msg)
        return _datum(fastavro, payload[_HEAD:], schemas[number])

    return load


def _datum(fastavro: Any, data: bytes, schema: Any) -> Any:
    stream = io.BytesIO(data)
    try:
        datum = fastavro.schemaless_reader(stream, schema, None)
    except Exception as error:  # EOFError, IndexError, OverflowError, UnicodeDecodeError ...
        msg = f"the payload is not written by its Avro schema: {str(error) or type(error).__name__}"
        raise InvalidInputError(msg) from error
    if stream.tell() != len(data):
        msg = f"{len(data) - stream.tell()} bytes follow the Avro datum"
        raise InvalidInputError(msg)
    return datum
