"""Read a YAML file into a pydantic model, and say file, line and sentence where it does not fit."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

M = TypeVar("M", bound=BaseModel)


class ConfigError(Exception):
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
    """Refuses, with their line, keys that stand twice and values that Python cannot hold."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        node: yaml.Node | None = super().compose_node(parent, index)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, _ in node.value:
                text = str(key.value)
                if text in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {text!r} stands twice", key.start_mark
                    )
                seen.add(text)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            raise yaml.constructor.ConstructorError(
                None, None, str(error), node.start_mark
            ) from error


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
