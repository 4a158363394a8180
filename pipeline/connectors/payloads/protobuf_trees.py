"""Protobuf messages to trees of dicts and lists, by plans made once for each message type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ["tree_reader"]

_STAMP: Final = "google.protobuf.Timestamp"
_WRAPPERS: Final = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)

type Reader = Callable[[Any], Any]


def tree_reader(descriptor: Any) -> Reader:
    """Return a function that turns messages of a type into trees.

    Parameters
    ----------
    descriptor
        Of the message type.
    """
    return _Readers().of_message(descriptor)


class _Readers:
    """Makes a reader for each type once; a type may hold itself."""

    def __init__(self) -> None:
        self._plans: dict[str, list[tuple[str, bool, Reader]]] = {}

    def of_message(self, descriptor: Any) -> Reader:
        """Return the reader of a message type."""
        name = descriptor.full_name
        if name == _STAMP:
            return lambda message: message.ToJsonString()
        if name in _WRAPPERS:
            return lambda message: message.value
        if name not in self._plans:
            plan = self._plans[name] = []
            plan += [
                (field.name, field.has_presence, self._of(field)) for field in descriptor.fields
            ]
        plan = self._plans[name]

        def read(message: Any) -> dict[str, Any]:
            return {
                name: None if optional and not message.HasField(name) else value(message)
                for name, optional, value in plan
            }

        return read

    def _of(self, field: Any) -> Reader:
        name = field.name
        one = self._of_value(field)
        if _is_map(field):
            entry = field.message_type.fields_by_name["value"]
            item = self._of_value(entry)
            return lambda message: {
                str(key): item(value) for key, value in getattr(message, name).items()
            }
        if field.is_repeated:
            return lambda message: [one(value) for value in getattr(message, name)]
        return lambda message: one(getattr(message, name))

    def _of_value(self, field: Any) -> Reader:
        if field.message_type is not None:
            return self.of_message(field.message_type)
        if field.enum_type is not None:
            names = {
                number: value.name for number, value in field.enum_type.values_by_number.items()
            }
            return lambda number: names.get(number, number)
        return _same


def _same(value: Any) -> Any:
    return value


def _is_map(field: Any) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry
