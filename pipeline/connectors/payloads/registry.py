"""The payload formats, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from pipeline.connectors.payloads.avro import AvroPayload
from pipeline.connectors.payloads.cbor import CborPayload
from pipeline.connectors.payloads.delimited_text import CsvPayload
from pipeline.connectors.payloads.formats import PayloadFormat
from pipeline.connectors.payloads.json_text import JsonPayload
from pipeline.connectors.payloads.line_text import LineProtocolPayload
from pipeline.connectors.payloads.msgpack import MessagePackPayload
from pipeline.connectors.payloads.protobuf import ProtobufPayload
from pipeline.connectors.payloads.senml import SenmlCborPayload, SenmlJsonPayload
from pipeline.connectors.payloads.sparkplug import SparkplugPayload
from pipeline.errors import InvalidInputError, NotFoundError

__all__ = ["PAYLOAD_FORMATS", "declared_payload", "payload_format"]

_ALL: Final[tuple[type[PayloadFormat], ...]] = (
    AvroPayload,
    CborPayload,
    CsvPayload,
    JsonPayload,
    LineProtocolPayload,
    MessagePackPayload,
    ProtobufPayload,
    SenmlCborPayload,
    SenmlJsonPayload,
    SparkplugPayload,
)

PAYLOAD_FORMATS: Final[Mapping[str, type[PayloadFormat]]] = {kind.name: kind for kind in _ALL}
"""The formats in the order in which they are listed."""


def payload_format(name: str, options: Mapping[str, Any]) -> PayloadFormat:
    """Return a format as it is declared.

    Parameters
    ----------
    name
        One of `PAYLOAD_FORMATS`.
    options
        As they stand in a job file.

    Raises
    ------
    NotFoundError
        If there is no such format.
    InvalidInputError
        If an option is unknown or wrong.
    """
    if name not in PAYLOAD_FORMATS:
        msg = f"no payload format {name!r}; there are: {', '.join(PAYLOAD_FORMATS)}"
        raise NotFoundError(msg)
    try:
        return PAYLOAD_FORMATS[name].model_validate(options)
    except ValidationError as error:
        msg = f"payload format {name!r}: {error}"
        raise InvalidInputError(msg) from error


def declared_payload(given: Any) -> Any:
    """Return the format for its declaration in a job file: ``{json: {mapping: ...}}``.

    Parameters
    ----------
    given
        A mapping of one format's name to its options; a format stays what it is.

    Raises
    ------
    ValueError
        If it is another thing, or an option is unknown or wrong.
    """
    if isinstance(given, PayloadFormat):
        return given
    if not isinstance(given, Mapping) or len(given) != 1:
        msg = "a payload is one format's name with its options, such as json: {mapping: ...}"
        raise ValueError(msg)
    [(name, options)] = given.items()
    try:
        return payload_format(name, options)
    except NotFoundError as error:
        raise ValueError(str(error)) from error
