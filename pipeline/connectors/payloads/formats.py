"""What every payload format is: a declaration that can stand in a job file, and its decoder."""

from __future__ import annotations

from abc import abstractmethod
from importlib import import_module
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from pipeline.connectors.payloads.messages import Decoder
from pipeline.connectors.payloads.rules import PayloadMapping
from pipeline.errors import MissingDependencyError

__all__ = ["MappedFormat", "PayloadFormat", "load_library"]


class PayloadFormat(BaseModel):
    """How the payloads of a stream are written, and what they mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    """By which job files and the registry know the format."""

    @abstractmethod
    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the rows."""

    @abstractmethod
    def topic_template(self) -> str:
        """Return the template of the topics; empty for any."""

    @abstractmethod
    def may_take_receive_time(self) -> bool:
        """Return whether rows may have the time at which their message was received.

        Such a row is a new one whenever its message comes again.
        """

    @abstractmethod
    def decoder(self) -> Decoder:
        """Return a new decoder, for one stream.

        Raises
        ------
        MissingDependencyError
            If the format needs a library that is not installed.
        """


class MappedFormat(PayloadFormat):
    """A format whose fields are mapped by a `PayloadMapping`.

    Parameters
    ----------
    mapping
        Which fields make the device, the time and the channels.
    """

    mapping: PayloadMapping

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the rows: that of the mapping."""
        return self.mapping.arrow_schema()

    def topic_template(self) -> str:
        """Return the template of the topics; empty for any."""
        return self.mapping.topic

    def may_take_receive_time(self) -> bool:
        """Return whether rows may have the time at which their message was received."""
        return self.mapping.time.may_be_received


def load_library(library: str, name: str) -> Any:
    """Import the library that a payload format needs.

    Parameters
    ----------
    library
        A module.
    name
        The format's name, for the message.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    try:
        return import_module(library)
    except ImportError as error:
        package = {"google": "protobuf"}.get(library.partition(".")[0], library.partition(".")[0])
        msg = (
            f"payload format {name!r} needs the library {package}; "
            "install it with: pip install 'iot-archive[ingest]'"
        )
        raise MissingDependencyError(msg) from error
