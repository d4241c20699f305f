"""Errors that nobody foresaw: whose fault they are, and how they are told without secrets."""

import logging
from traceback import format_exception

import django.db
import psycopg
from kombu.exceptions import OperationalError as BrokerLost
from redis.exceptions import ConnectionError as RedisLost
from redis.exceptions import TimeoutError as RedisSilent

from approvals.core.intake import harmless
from approvals.masking import Given, quiet

# What PostgreSQL says of itself and of no single statement, by the beginning of its SQLSTATE: lost
# connections, used up resources, an operator's word, the machine, and that this process stood still
# (PostgreSQL's documentation, appendix A). A connection that is gone comes without any.
_OF_THE_SERVER = ("08", "53", "57P", "58", "25P03")


def is_outage(error: Exception) -> bool:
    """Whether PostgreSQL or Redis is gone, which is no row's fault and ends by itself."""
    if isinstance(error, (BrokerLost, RedisLost, RedisSilent, django.db.InterfaceError)):
        return True
    cause = error.__cause__ if isinstance(error, django.db.Error) else error
    if not isinstance(cause, psycopg.Error):
        return False
    if cause.sqlstate is None:
        return isinstance(cause, psycopg.OperationalError)
    return cause.sqlstate.startswith(_OF_THE_SERVER)


def sentence(row: Given, error: Exception) -> str:
    """What people are told of it on the row, without the secrets of what was asked."""
    # Without its secrets first: of one of several lines, the first alone would not be known as one.
    first_line = quiet(row, f"{type(error).__name__}: {error}").splitlines()[0].rstrip(" :")
    told = f"The gateway itself failed, and the worker's log has the traceback: {first_line}"
    return str(harmless(told))


def log_traceback(
    log: logging.Logger, row: Given, error: Exception, text: str, *facts: object
) -> None:
    """Log it as an error with its traceback, without the secrets of what was asked."""
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, text, facts, None)
    # Where whoever formats a line looks for a traceback that is text already.
    record.exc_text = harmless(quiet(row, "".join(format_exception(error)).rstrip()))
    log.handle(record)
