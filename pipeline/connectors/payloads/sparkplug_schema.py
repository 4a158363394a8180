"""The protobuf messages of Sparkplug B, as far as an archive needs them.

Fields that are left out (metadata, properties) are skipped by the parser; data sets and
templates are kept as bytes, so that their presence is known.

References
----------
Eclipse Sparkplug Specification 3.0.0, section 6.4, Payloads.
"""

from __future__ import annotations

from typing import Any, Final

from pipeline.connectors.payloads.formats import load_library

__all__ = ["payload_class"]

_OPTIONAL, _REPEATED = 1, 3
_TYPES: Final = {
    "double": 1, "float": 2, "uint64": 4, "bool": 8, "string": 9, "message": 11, "bytes": 12,
    "uint32": 13,
}  # fmt: skip
"""Numbers of field types in descriptors (google/protobuf/descriptor.proto)."""

_METRIC: Final = (
    ("name", 1, "string"), ("alias", 2, "uint64"), ("timestamp", 3, "uint64"),
    ("datatype", 4, "uint32"), ("is_historical", 5, "bool"), ("is_null", 7, "bool"),
)  # fmt: skip
_VALUES: Final = (
    ("int_value", 10, "uint32"), ("long_value", 11, "uint64"), ("float_value", 12, "float"),
    ("double_value", 13, "double"), ("boolean_value", 14, "bool"), ("string_value", 15, "string"),
    ("bytes_value", 16, "bytes"), ("dataset_value", 17, "bytes"), ("template_value", 18, "bytes"),
)  # fmt: skip
_PACKAGE: Final = "iot_archive.sparkplug_b"


def payload_class(name: str) -> Any:
    """Return the message class of payloads.

    Parameters
    ----------
    name
        Of the format, for the error if protobuf is not installed.

    Raises
    ------
    MissingDependencyError
        If protobuf is not installed.
    """
    descriptors = load_library("google.protobuf.descriptor_pb2", name)
    pools = load_library("google.protobuf.descriptor_pool", name)
    factory = load_library("google.protobuf.message_factory", name)
    file = descriptors.FileDescriptorProto(
        name="sparkplug_b.proto", package=_PACKAGE, syntax="proto2"
    )
    metric = file.message_type.add(name="Metric")
    metric.oneof_decl.add(name="value")
    for field, number, kind in _METRIC:
        metric.field.add(name=field, number=number, type=_TYPES[kind], label=_OPTIONAL)
    for field, number, kind in _VALUES:
        metric.field.add(
            name=field, number=number, type=_TYPES[kind], label=_OPTIONAL, oneof_index=0
        )
    payload = file.message_type.add(name="Payload")
    payload.field.add(name="timestamp", number=1, type=_TYPES["uint64"], label=_OPTIONAL)
    payload.field.add(
        name="metrics",
        number=2,
        type=_TYPES["message"],
        type_name=f".{_PACKAGE}.Metric",
        label=_REPEATED,
    )
    payload.field.add(name="seq", number=3, type=_TYPES["uint64"], label=_OPTIONAL)
    pool = pools.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))
