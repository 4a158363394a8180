"""Job files as plain documents: YAML, overrides from the command line, the environment.

Nothing here knows what a job is; the document is checked by `pipeline.jobs.job_file`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import yaml

from pipeline.errors import JobError

__all__ = ["apply_overrides", "expand_environment", "read_document"]

_VARIABLE: Final = re.compile(
    r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<has>:-(?P<default>[^}]*))?\}|\$\{"
)


class _Loader(yaml.SafeLoader):
    """YAML without its two surprises: keys given twice, and times that become objects."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (an attribute of the library's class)
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        if repeated:
            problem = f"key {repeated[0]!r} is given twice"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_mapping(node, deep)


def read_document(path: Path) -> Any:
    """Return the content of a YAML file; times stay texts.

    Raises
    ------
    JobError
        If the file is missing, cannot be read, or is no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        msg = f"{path}: no such job file"
        raise JobError(msg) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"{path}: cannot be read: {reason}"
        raise JobError(msg) from error
    return _parse(text, str(path))


def _parse(text: str, where: str) -> Any:
    try:
        # A subclass of SafeLoader builds plain values only.
        return yaml.load(text, _Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        msg = f"{where}{place}: not valid YAML: {error.problem or error.context}"
        raise JobError(msg) from error
    except yaml.YAMLError as error:
        msg = f"{where}: not valid YAML: {' '.join(str(error).split())}"
        raise JobError(msg) from error


def apply_overrides(document: Any, overrides: Sequence[str]) -> Any:
    """Return a copy of `document` with values replaced.

    Parameters
    ----------
    document
        Mappings, lists and plain values.
    overrides
        Texts ``path=value``: the path's keys and list positions are joined by dots
        (``steps.0.import.fleet=rooms``), the value is YAML.

    Raises
    ------
    JobError
        If an override has no ``=``, or its path leads nowhere.
    """
    changed = deepcopy(document)
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path:
            msg = f"override {override!r}: write it as path=value, such as archive=data/demo"
            raise JobError(msg)
        _put(changed, path.split("."), _parse(text, f"override {path!r}"), path)
    return changed


def _put(parent: Any, keys: list[str], value: Any, path: str) -> None:
    for at, name in enumerate(keys):
        key: Any = _position(parent, name, path) if isinstance(parent, list) else name
        if not isinstance(parent, dict | list):
            above = ".".join(keys[:at])
            msg = f"override {path!r}: {above or 'the file'} holds no keys, but {parent!r}"
            raise JobError(msg)
        if at == len(keys) - 1:
            parent[key] = value
            return
        if isinstance(parent, dict) and parent.get(key) is None:
            parent[key] = {}
        parent = parent[key]


def _position(parent: list[Any], name: str, path: str) -> int:
    if not name.isdecimal() or int(name) >= len(parent):
        msg = (
            f"override {path!r}: {name!r} is no position in a list of {len(parent)}, counted from 0"
        )
        raise JobError(msg)
    return int(name)


def expand_environment(document: Any, environment: Mapping[str, str]) -> tuple[Any, frozenset[str]]:
    """Return a copy of `document` with variables in its texts replaced.

    ``${NAME}`` is the variable's value; ``${NAME:-default}`` is the default if the variable is
    unset or empty; ``$$`` is a dollar sign.

    Parameters
    ----------
    document
        Mappings, lists and plain values. Keys are left as they are.
    environment
        The variables.

    Returns
    -------
    document
        The copy.
    variables
        Names of all variables that occur.

    Raises
    ------
    JobError
        If a variable without default is unset, or a ``${`` is not one of these forms.
    """
    variables: set[str] = set()

    def replace(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name, default = found["name"], found["default"]
        if name is None:
            msg = (
                f"{found.string!r}: write variables as ${{NAME}} or ${{NAME:-default}}, and $ as $$"
            )
            raise JobError(msg)
        variables.add(name)
        value = environment.get(name)
        if value or (value is not None and default is None):
            return value
        if default is None:
            msg = f"environment variable {name} is not set; set it, or write ${{{name}:-default}}"
            raise JobError(msg)
        return str(default)

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return _VARIABLE.sub(replace, value)
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        return [walk(item) for item in value] if isinstance(value, list) else value

    return walk(document), frozenset(variables)
