"""The compose file as Compose reads it, as far as ours goes."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
EXAMPLE = DEPLOY / "compose.env.example"

_VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Z][A-Z0-9_]*)(?::([-?])([^}]*))?\})")


class MissingVariableError(Exception):
    """A variable that must have a value has none; the message is the file's own."""


def interpolate(text: str, values: Mapping[str, str]) -> str:
    """Return the text with each ${NAME}, ${NAME:-default} and ${NAME:?message} replaced."""

    def replace(match: re.Match[str]) -> str:
        dollar, name, operator, rest = match.groups()
        if dollar:
            return "$"
        if value := values.get(name, ""):
            return value
        if operator == "?":
            raise MissingVariableError(f"{name}: {rest}")
        return rest if operator == "-" else ""

    return _VARIABLE.sub(replace, text)


def variables(text: str) -> dict[str, str]:
    """Return the variables that a text asks for, each with its message where it is required."""
    found = _VARIABLE.findall(text)
    return {name: rest if sign == "?" else "" for _, name, sign, rest in found if name}


def written() -> dict[str, Any]:
    """Return the compose file without any variable replaced."""
    read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return read


def services(values: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return every service with the variables replaced; MissingVariableError names a missing one.

    They are replaced in values, as Compose does, so that none can become syntax.
    """

    def replaced(part: Any) -> Any:
        if isinstance(part, str):
            return interpolate(part, values)
        if isinstance(part, list):
            return [replaced(item) for item in part]
        if isinstance(part, dict):
            return {key: replaced(value) for key, value in part.items()}
        return part

    every: dict[str, dict[str, Any]] = replaced(written()["services"])
    return every


def example() -> dict[str, str]:
    """Return the variables of the example file, with the values it gives them."""
    lines = [line.strip().removeprefix("# ") for line in EXAMPLE.read_text().splitlines()]
    return dict(re.findall(r"^([A-Z][A-Z0-9_]*)=(.*)$", "\n".join(lines), re.MULTILINE))


def bind_mounts(service: Mapping[str, Any]) -> dict[str, Path]:
    """Return where in the container each file or folder of ours appears, by its place here."""
    short = [volume.split(":") for volume in service.get("volumes", [])]
    return {parts[1]: (DEPLOY / parts[0]).resolve() for parts in short if parts[0].startswith(".")}
