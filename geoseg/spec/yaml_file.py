"""Settings as YAML files.

In: a file that is not trusted. Out: plain values of a bounded size.

YAML is read according to version 1.2: NO, on, 010, 12:30 and 2020-01-01 are texts, not truth values, octal or base-60
numbers and dates. Fields of other types parse such a text themselves, so that no value is converted before its type is
known.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from geoseg.core.errors import SpecError, shown
from geoseg.core.regular_files import read_bounded
from geoseg.spec.plain import MOST_LEVELS, MOST_VALUES, check_plain

MOST_BYTES = 2**21
"""Largest file of settings."""
MOST_MERGED = 16
"""Most mappings that a YAML merge key (<<) may name."""
_PREFIX = "tag:yaml.org,2002:"
_UNREADABLE = ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError
"""Exceptions raised for a scalar whose text does not fit its explicit tag."""


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file of settings.

    Raises:
        SpecError: if the file is missing, too large, not YAML, or holds no mapping.
    """
    loader = None
    try:
        loader = _Loader(_read(Path(path)))
        values = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        raise SpecError(f"{path} is not YAML: {_in_words(error)}") from None
    except ReaderError as error:
        if error.encoding != "unicode":
            raise SpecError(f"{path} is no text in UTF-8: save it as UTF-8") from None
        raise SpecError(f"{path} is not YAML: {error.reason} at character {error.position}") from None
    except (yaml.YAMLError, RecursionError, *_UNREADABLE) as error:
        raise SpecError(f"{path} is not YAML: {shown(str(error))}") from None
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(values, dict):
        raise SpecError(f"{path} holds no settings: write `name: value` lines")
    check_plain(values, str(path))
    return values


def _read(path: Path) -> bytes:
    try:
        return read_bounded(path, MOST_BYTES)
    except OSError as error:
        raise SpecError(f"cannot read settings from {path}: {error.strerror}") from None
    except ValueError as error:  # a path with a NUL
        raise SpecError(f"cannot read settings from {shown(str(path))}: {error}") from None


class _Loader(yaml.SafeLoader):
    """Loader of YAML with plain types only, in which no name occurs twice."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012
    yaml_constructors: dict[str | None, Any] = {  # type: ignore[misc]  # noqa: RUF012
        _PREFIX + "null": yaml.SafeLoader.construct_yaml_null,
        _PREFIX + "bool": yaml.SafeLoader.construct_yaml_bool,
        _PREFIX + "float": yaml.SafeLoader.construct_yaml_float,
        _PREFIX + "str": yaml.SafeLoader.construct_yaml_str,
        _PREFIX + "seq": yaml.SafeLoader.construct_yaml_seq,
        _PREFIX + "map": yaml.SafeLoader.construct_yaml_map,
        None: yaml.SafeLoader.construct_undefined,
    }

    def __init__(self, content: bytes):
        super().__init__(content)
        self._levels = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Compose the next node, unless it is nested too deeply."""
        if self._levels > MOST_LEVELS:
            _refuse(f"more than {MOST_LEVELS} levels", self.peek_event())  # type: ignore[no-untyped-call]
        self._levels += 1
        node = super().compose_node(parent, index)
        self._levels -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        """Compose a mapping in which no name occurs twice."""
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                _refuse("a name is a list or a mapping", key)
            if (key.tag, key.value) in seen:
                _refuse(f"{shown(key.value)} stands there twice: keep one", key)
            seen.add((key.tag, key.value))
        return node

    def flatten_mapping(self, node: MappingNode) -> None:
        """Expand merge keys."""
        for key, value in node.value:
            if key.tag == _PREFIX + "merge" and isinstance(value, SequenceNode) and len(value.value) > MOST_MERGED:
                _refuse(f"<< names more than {MOST_MERGED} mappings", key)
        super().flatten_mapping(node)
        if len(node.value) > MOST_VALUES:
            _refuse(f"more than {MOST_VALUES:,} values", node)

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """Convert a node to its value."""
        try:
            return super().construct_object(node, deep)
        except _UNREADABLE:
            kind = node.tag.removeprefix(_PREFIX)
            text = shown(node.value) if isinstance(node, ScalarNode) else "this"
            _refuse(f"{text} is no {kind}: write it otherwise, or in quotes", node)

    def construct_whole(self, node: Node) -> int:
        """Convert decimal digits to an int."""
        return int(str(self.construct_scalar(node)))  # type: ignore[arg-type]  # or it refuses


def _refuse(problem: str, at: Any) -> NoReturn:
    """Raise an error about a node or an event."""
    raise yaml.constructor.ConstructorError(None, None, problem, at.start_mark)


_Loader.add_constructor(_PREFIX + "int", _Loader.construct_whole)
for _kind, _pattern, _first in (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?((0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    ("merge", "<<", ["<"]),
):
    _Loader.add_implicit_resolver(_PREFIX + _kind, re.compile(f"(?:{_pattern})\\Z"), _first)


def _in_words(error: yaml.MarkedYAMLError) -> str:
    """The line and the problem."""
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}: " if mark else ""
    parts = [" ".join(part.split()) for part in (error.context, error.problem) if part]
    return place + shown(", ".join(parts), most=300, quoted=False)
