"""What a fleet does about versions of its schema that differ, and channels it does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline.errors import InvalidInputError
from pipeline.schema.channels import RESERVED_NAMES
from pipeline.schema.compatibility import Compatibility

__all__ = ["OLDER", "UNKNOWN", "SchemaPolicies"]

UNKNOWN: Final = ("reject", "add", "quarantine", "ignore")
"""What can become of channels that the schema does not have."""

OLDER: Final = ("convert", "keep")
"""What can become of rows of older versions."""


@dataclass(frozen=True, slots=True)
class SchemaPolicies:
    """A fleet's rules about its schema.

    Parameters
    ----------
    compatibility
        What every new version has to be to the one before.
    unknown
        What becomes of columns that are no channel: ``"reject"`` refuses the batch, ``"add"``
        makes a new version with them, ``"quarantine"`` sets rows aside that have a value there,
        ``"ignore"`` leaves the values out and counts them.
    older
        What becomes of rows of an older version: ``"convert"`` stores them in the newest version,
        and sets aside those that do not fit; ``"keep"`` stores them as they are. A batch with rows
        of several versions is always converted.
    version_field
        Name of a column in which rows say their version; empty for none.
    version_tag
        Name of a tag that says the version of a device's rows; empty for none.

    Raises
    ------
    InvalidInputError
        If one of them is unknown.
    """

    compatibility: Compatibility = field(default=Compatibility.NONE)
    unknown: str = "reject"
    older: str = "convert"
    version_field: str = ""
    version_tag: str = ""

    @property
    def rows_tell(self) -> bool:
        """Whether a column or a tag may tell the version that rows have."""
        return bool(self.version_field or self.version_tag)

    def __post_init__(self) -> None:
        object.__setattr__(self, "compatibility", Compatibility.parse(self.compatibility))
        for name, known in (("unknown", UNKNOWN), ("older", OLDER)):
            if getattr(self, name) not in known:
                msg = f"{name}={getattr(self, name)!r}; use one of {', '.join(map(repr, known))}"
                raise InvalidInputError(msg)
        for name in ("version_field", "version_tag"):
            value: Any = getattr(self, name)
            if not isinstance(value, str) or value in RESERVED_NAMES:
                msg = f"{name}={value!r}; give the name of a column or tag of its own"
                raise InvalidInputError(msg)

    def to_json(self) -> dict[str, str]:
        """Return the policies as a JSON object."""
        return {
            "compatibility": self.compatibility.value,
            "unknown": self.unknown,
            "older": self.older,
            "version_field": self.version_field,
            "version_tag": self.version_tag,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> SchemaPolicies:
        """Return the policies of a JSON object made by `to_json`; those by default of None.

        Raises
        ------
        InvalidInputError
            If something is unknown.
        """
        if document is None:
            return cls()
        try:
            return cls(**document)
        except TypeError as error:
            msg = f"policies of a schema that this release does not know: {document!r}; upgrade iot-archive"
            raise InvalidInputError(msg) from error
