"""Private folders, their locks, and whom a server runs as when root starts it."""

import fcntl
import importlib.util
import os
import pwd
import time
from pathlib import Path

from hitl_project.children import User

# Neither the caller's PGDATA or LC_ALL nor its secrets are any business of the servers.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
START_SECONDS = 60.0
STOP_SECONDS = 20.0


class EmbeddedServerError(RuntimeError):
    """A server could not be started; the message says why and what to do."""


def prepare_folder(folder: Path) -> User | None:
    """Make the server's private folder and return whom root has to become, None for nobody else."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.stat()
    except PermissionError as error:
        raise EmbeddedServerError(
            f"Cannot use {folder}: {error.strerror}. Start as the user it belongs to, or set"
            " HITL_DATA_DIR to another folder."
        ) from error
    if os.geteuid() != 0:
        if owner.st_uid != os.geteuid():
            raise EmbeddedServerError(
                f"{folder} belongs to user {owner.st_uid}. Start as the user who started it first,"
                " or set HITL_DATA_DIR to another folder."
            )
        return None
    user = User(owner.st_uid, owner.st_gid)
    if user.uid == 0:
        nobody = pwd.getpwnam("nobody")
        user = User(nobody.pw_uid, nobody.pw_gid)
    try:
        private_folder(folder, user)
        usable = os.access(folder, os.W_OK)
    except PermissionError:
        usable = False
    if not usable:
        raise EmbeddedServerError(
            "Root lacks CAP_CHOWN or CAP_DAC_OVERRIDE here, without which it cannot start a server"
            " as another user, and PostgreSQL refuses to run as root: start as an ordinary user."
        )
    return user


def private_folder(folder: Path, user: User | None) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if user is not None:
        os.chown(folder, user.uid, user.gid)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def take_lock(path: Path, wait_seconds: float) -> int:
    """Return the descriptor that holds the lock; EmbeddedServerError when another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise EmbeddedServerError(
                    f"{path.parent} is in use by another start: stop that one, or set HITL_DATA_DIR"
                    " to another folder."
                ) from None
            time.sleep(0.05)
        else:
            return descriptor


def package_folders(name: str) -> list[Path]:
    spec = importlib.util.find_spec(name)
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or []]
