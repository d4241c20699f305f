"""Read a YAML file into a pydantic model, and say file, line and sentence where it does not fit."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from django.core.exceptions import ImproperlyConfigured
from pydantic import BaseModel, ConfigDict, ValidationError

M = TypeVar("M", bound=BaseModel)

DEEPEST = 50
MOST_VALUES = 100_000


class ConfigError(ImproperlyConfigured):
    """A configuration file is missing or wrong; the message names file, line and fault."""


class ConfigModel(BaseModel):
    """A model that refuses unknown keys and a frozen value once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def load_config(path: Path, model: type[M]) -> M:
    """The file as the model; ConfigError where it is absent, not YAML, or does not fit."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        node, value = _parsed(text)
    except yaml.YAMLError as error:
        line, problem = _place(error, text)
        raise ConfigError(f"{path}:{line}: not valid YAML: {problem}") from error
    if node is None:
        raise ConfigError(f"{path}:1: the file is empty")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(
                f"{path}:{_line(node, fault['loc'])}: {_sentence(fault['loc'], fault['msg'])}"
                for fault in error.errors()
            )
        ) from error


class _Loader(yaml.SafeLoader):
    """Refuses, with their line, keys that stand twice and values that Python cannot hold.

    So are files that no person writes: what is nested without end, or is short and stands for
    more than any memory holds, by aliases of aliases.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._level = 0
        # How many values a node stands for with its aliases, and how deep; by the node's identity.
        self._extents: dict[int, tuple[int, int]] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        self._level += 1
        if self._level > DEEPEST:
            raise _fault(f"nested more than {DEEPEST} deep", event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._level -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._extents:
                what = f"the alias {event.anchor!r} stands within what it names"
                raise _fault(what, event.start_mark)
        elif node is not None:
            self._extents[id(node)] = self._extent(node)
        if isinstance(node, yaml.MappingNode):
            _refuse_twins(node)
        return node

    def _extent(self, node: yaml.Node) -> tuple[int, int]:
        """How many values the node stands for, and how deep they are nested."""
        held: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            held = node.value
        elif isinstance(node, yaml.MappingNode):
            held = [part for pair in node.value for part in pair]
        extents = [self._extents[id(part)] for part in held]
        values = 1 + sum(number for number, _ in extents)
        depth = 1 + max((below for _, below in extents), default=0)
        if values > MOST_VALUES:
            raise _fault(f"stands for more than {MOST_VALUES} values", node.start_mark)
        if depth > DEEPEST:
            raise _fault(f"nested more than {DEEPEST} deep", node.start_mark)
        return values, depth

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            raise _fault(str(error), node.start_mark) from error
        except (AttributeError, LookupError) as error:
            # What the library makes of a value that does not fit the type written before it.
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise _fault(f"this is no {tag}", node.start_mark) from error


def _fault(sentence: str, mark: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, sentence, mark)


def _refuse_twins(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        # Any other key is refused by its type.
        if not isinstance(key, yaml.ScalarNode):
            continue
        if key.value in seen:
            raise _fault(f"the key {key.value!r} stands twice", key.start_mark)
        seen.add(key.value)


def _parsed(text: str) -> tuple[yaml.Node | None, Any]:
    """The document with its lines and as plain values."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _place(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """The line of a fault in the YAML itself, and what it is."""
    if isinstance(error, yaml.reader.ReaderError):
        return text.count("\n", 0, error.position) + 1, error.reason
    mark = getattr(error, "problem_mark", None)
    return mark.line + 1 if mark else 1, getattr(error, "problem", None) or str(error)


def _line(node: yaml.Node, location: tuple[Any, ...]) -> int:
    """The line of the deepest part of the location that stands in the file."""
    line: int = node.start_mark.line
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == str(step)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line
    return line + 1


def _sentence(location: tuple[Any, ...], message: str) -> str:
    place = ".".join(str(step) for step in location)
    return f"{place}: {message}" if place else message
