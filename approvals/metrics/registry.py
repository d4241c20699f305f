"""Where every package registers what `/metrics` reads from tables, and how that is read."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import connection, transaction
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

# What is computed from tables, whichever process is asked. A package registers its collectors
# once, in its AppConfig.ready: `TABLES.register(RunCollector())`. `collect` is called anew for
# every scrape, must be quick however long the tables are, and yields a sample of 0 for every label
# set that is known beforehand. Each metric has its row in the table of the README, which a test
# compares with the page.
TABLES = CollectorRegistry()

# The planner takes part of the conditions for a third of a table, and would read all of it, or
# compile code for that. Prometheus gives up on a scrape after 10 s by default.
_PLAN = """
SET LOCAL enable_seqscan = off;
SET LOCAL jit = off;
SET LOCAL statement_timeout = '9s'
"""
_PLAN_AFRESH = "SET LOCAL enable_seqscan = DEFAULT"


def scrape() -> Sequence[Metric]:
    """Every registered metric as the tables have it now, read in one short transaction."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_PLAN)
        return list(TABLES.collect())


@contextmanager
def much_to_read() -> Iterator[None]:
    """Let the planner read whole tables in here after all: what has to be read is most of one."""
    with connection.cursor() as cursor:
        cursor.execute(_PLAN_AFRESH)
        yield
        cursor.execute(_PLAN)
