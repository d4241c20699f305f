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
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise ConfigError(f"{path}:1: the file is empty")
        _refuse_duplicate_keys(path, node)
        return model.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{path}:{line}: not valid YAML: {problem}") from error
    except ValidationError as error:
        raise ConfigError(
            "\n".join(
                f"{path}:{_line(node, fault['loc'])}: {_sentence(fault['loc'], fault['msg'])}"
                for fault in error.errors()
            )
        ) from error


def _refuse_duplicate_keys(path: Path, node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise ConfigError(f"{path}:{line}: the key {key.value!r} stands twice")
            seen.add(key.value)
            _refuse_duplicate_keys(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicate_keys(path, item)


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
