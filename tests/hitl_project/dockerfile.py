"""A Dockerfile carried out in a folder, without a container, as far as ours goes.

A stage's file system is the folder `root`, so a path of the image is one below it; commands get
paths there, because nothing makes the folder their root. The base image is the Python that runs
the tests.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_OURS = ("PYTHON", "VIRTUAL_ENV", "DJANGO_", "HITL_", "DATABASE_", "REDIS_", "SECRET_KEY")


@dataclass
class Stage:
    """One stage of a build: what its instructions made of the folder, and what they declared."""

    root: Path
    base: str
    workdir: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    user: str = ""
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)

    def inside(self, path: str) -> Path:
        """Return where a path of the image is here."""
        return self.root / os.path.normpath(os.path.join(self.workdir, path)).lstrip("/")  # noqa: PTH118

    def here(self, text: str) -> str:
        """Return the text with the working folder's path as it is here."""
        return text.replace(self.workdir, str(self.inside("."))) if self.workdir != "/" else text


def instructions(dockerfile: Path) -> Iterator[tuple[str, str]]:
    """Yield each instruction of a Dockerfile with its arguments on one line."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, arguments = line.partition(" ")
        yield name, arguments.strip()


class Ignored:
    """What the .dockerignore of a build's context keeps from being sent to the build.

    As Docker does: the last pattern that matches a path or a folder above it decides.
    """

    def __init__(self, context: Path) -> None:
        lines = map(str.strip, (context / ".dockerignore").read_text().splitlines())
        self._lines = [line for line in lines if line and not line.startswith("#")]
        self._rules = [
            (re.compile(_pattern(line.removeprefix("!"))), not line.startswith("!"))
            for line in self._lines
        ]

    def keeps_out(self, path: Path) -> bool:
        """Say whether a path, relative to the context, is not sent."""
        names = [part.as_posix() for part in (path, *path.parents)]
        verdict = False
        for pattern, kept_out in self._rules:
            if any(pattern.fullmatch(name) for name in names):
                verdict = kept_out
        return verdict

    def may_hold_exceptions(self, folder: Path) -> bool:
        """Say whether something in a folder that is kept out may be sent all the same."""
        return any(line.startswith(f"!{folder.as_posix()}/") for line in self._lines)


def sent(context: Path) -> Iterator[Path]:
    """Yield the files of a build's context that its .dockerignore lets through, relative to it."""
    ignored = Ignored(context)
    for name, folders, files in os.walk(context):
        here = Path(name).relative_to(context)
        folders[:] = [
            folder
            for folder in folders
            if not ignored.keeps_out(here / folder) or ignored.may_hold_exceptions(here / folder)
        ]
        yield from (here / file for file in files if not ignored.keeps_out(here / file))


def _pattern(line: str) -> str:
    """Return the regular expression of one pattern of a .dockerignore."""
    kinds = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", line.strip("/"))
    return "".join(kinds.get(part) or re.escape(part) for part in parts)


def build(dockerfile: Path, context: Path, folder: Path) -> Stage:
    """Carry out every instruction and return the last stage; ValueError for an unknown one."""
    stages: dict[str, Stage] = {}
    stage = Stage(folder, "")
    for name, arguments in instructions(dockerfile):
        if name == "FROM":
            base, _, called = arguments.partition(" AS ")
            root = folder / (called or "final")
            stage = stages[called or "final"] = Stage(root, base)
            stage.environment["PATH"] = f"{Path(sys.executable).parent}:/usr/local/bin:{os.defpath}"
        elif name == "COPY":
            _copy(stage, arguments, context, stages)
        elif name == "RUN":
            _run(stage, arguments)
        else:
            _declare(stage, name, arguments)
    return stage


def _declare(stage: Stage, name: str, arguments: str) -> None:
    match name:
        case "WORKDIR":
            stage.workdir = arguments
            stage.inside(".").mkdir(parents=True, exist_ok=True)
        case "ENV":
            for pair in shlex.split(arguments):
                key, _, value = pair.partition("=")
                value = value.replace("$PATH", stage.environment["PATH"])
                stage.environment[key] = stage.here(value)
        case "USER":
            stage.user = arguments
        case "ENTRYPOINT":
            stage.entrypoint = json.loads(arguments)
        case "CMD":
            stage.command = json.loads(arguments)
        case "HEALTHCHECK":
            stage.healthcheck = json.loads(arguments[arguments.index("CMD") + 3 :])
        case "EXPOSE":
            pass
        case _:
            raise ValueError(f"Nobody taught this reader the instruction {name}.")


def _copy(stage: Stage, arguments: str, context: Path, stages: Mapping[str, Stage]) -> None:
    words = arguments.split()
    if words[0].startswith("--from="):
        _, source, target = words
        origin = stages[words[0].removeprefix("--from=")]
        # Links rather than copies: the stage that it comes from is removed below.
        shutil.copytree(
            origin.inside(source),
            stage.inside(target),
            symlinks=True,
            copy_function=os.link,
            dirs_exist_ok=True,
        )
        # What the image still needed of it would be missing from now on.
        shutil.rmtree(origin.root)
        return
    source, target = words
    for path in sent(context):
        if source == "." or path.as_posix() == source:
            copy = stage.inside(target) / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(context / path, copy)


def _run(stage: Stage, command: str) -> None:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
    done = subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", command],
        cwd=stage.inside("."),
        env=inherited | stage.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"`{command}` ended with {done.returncode}:\n{done.stdout[-4000:]}")
