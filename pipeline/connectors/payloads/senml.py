"""SenML packs, in JSON and in CBOR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, Field

from pipeline.connectors.mapping import DeviceMapping
from pipeline.connectors.payloads.cbor import cbor_reader
from pipeline.connectors.payloads.documents import DocumentDecoder
from pipeline.connectors.payloads.formats import PayloadFormat, load_library
from pipeline.connectors.payloads.messages import Decoder, Message
from pipeline.connectors.payloads.rules import PayloadMapping, PayloadTime
from pipeline.connectors.payloads.senml_packs import CBOR_LABELS, resolve_pack

__all__ = ["SenmlCborPayload", "SenmlJsonPayload", "SenmlMapping"]

_TIME: Final = PayloadTime(columns=("time",), unit="us")


class SenmlMapping(PayloadMapping):
    """How resolved SenML records become rows; every part has a default but the channels.

    Parameters
    ----------
    device
        By default ``base``, the base name without the mark (one of ``:/-_.``) at its end. Other
        fields of a record are ``name`` (the whole name), ``local`` (what follows the base name),
        ``unit``, ``value``, ``sum``, ``time`` and ``update_time`` (seconds).
    time
        By default the record's own, or the receive time where it has none.
    channel, value
        By default ``local`` names the channel and ``value`` holds its value. Empty for records
        that are rows, with ``value`` as the column of a channel.
    units
        The SenML unit that records have to have, by their local name.
    """

    device: Annotated[DeviceMapping, BeforeValidator(DeviceMapping.of)] = DeviceMapping(
        column="base"
    )
    time: Annotated[PayloadTime, BeforeValidator(PayloadTime.of)] = _TIME
    channel: str = "local"
    value: str = "value"
    units: dict[str, str] = Field(default_factory=dict)


class _SenmlPayload(PayloadFormat):
    mapping: SenmlMapping

    def arrow_schema(self) -> Any:
        """Return the schema of the rows: that of the mapping."""
        return self.mapping.arrow_schema()

    def topic_template(self) -> str:
        """Return the template of the topics; empty for any."""
        return self.mapping.topic

    def may_take_receive_time(self) -> bool:
        """Return True: records without a time of their own take it (RFC 8428, section 4.5.3)."""
        return True

    def _decoder(
        self, read: Callable[[Message], Any], labels: Mapping[Any, str] | None
    ) -> DocumentDecoder:
        units = self.mapping.units

        def load(message: Message) -> Any:
            return resolve_pack(read(message), message.received, units, labels)

        return DocumentDecoder(load, self.mapping)


class SenmlJsonPayload(_SenmlPayload):
    """SenML in JSON.

    Parameters
    ----------
    mapping
        What resolved records mean.

    References
    ----------
    RFC 8428, Sensor Measurement Lists (SenML), sections 4 and 5.
    """

    name: ClassVar[str] = "senml_json"

    def decoder(self) -> Decoder:
        """Return a new decoder, for one stream.

        Raises
        ------
        MissingDependencyError
            If msgspec is not installed.
        """
        decode = load_library("msgspec.json", self.name).Decoder().decode
        return self._decoder(lambda message: decode(message.payload), None)


class SenmlCborPayload(_SenmlPayload):
    """SenML in CBOR.

    Parameters
    ----------
    mapping
        What resolved records mean.

    References
    ----------
    RFC 8428, Sensor Measurement Lists (SenML), sections 4 and 6.
    """

    name: ClassVar[str] = "senml_cbor"

    def decoder(self) -> Decoder:
        """Return a new decoder, for one stream.

        Raises
        ------
        MissingDependencyError
            If cbor2 is not installed.
        """
        return self._decoder(cbor_reader(self.name), CBOR_LABELS)
