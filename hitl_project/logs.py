"""How a line of log looks: for machines (`json`), or for people (`text`)."""

import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from approvals import trail


class JsonLines(JsonFormatter):
    """One JSON object a line, with the ids of the decision's path and the facts that were told.

    Of what libraries attach to a record nothing is shown: it may be a request or arguments.
    """

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Fill in the fields; `message_dict` holds the traceback, if there is one."""
        moment = datetime.fromtimestamp(record.created, UTC)
        log_data |= {
            "time": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        for name, key in (("exception", "exc_info"), ("stack", "stack_info")):
            if key in message_dict:
                log_data[name] = message_dict[key]


class TextLines(logging.Formatter):
    """A line for people: the same fields, behind the message."""

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname} {name}: {message}", style="{")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The line without its traceback."""
        fields = (f"{key}={_on_one_line(value)}" for key, value in _fields(record).items())
        return " ".join([super().formatMessage(record), *fields])


def _on_one_line(value: object) -> str:
    """A value that cannot pass for a line of its own: agents choose their workflows' ids."""
    text = str(value)
    return text if text.isprintable() else repr(text)


def write_line(message: str, *_: object) -> None:
    """Write a line from within a signal's handler, which may have interrupted another line."""
    record = logging.LogRecord("celery.worker", logging.INFO, "", 0, message, None, None)
    line = logging.getLogger().handlers[0].format(record)
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{line}\n".encode())


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    # A line about many requests says of each which one it is.
    return {**trail.ids(), **getattr(record, "facts", {})}
