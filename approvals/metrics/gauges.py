"""What channels are owed, who is at work, and what runs here, as Prometheus metrics."""

import platform
from collections.abc import Iterator

from django.db import connection
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from approvals import outbox
from approvals.core.events import WORKFLOW, EventName, concerned_channels
from approvals.core.queues import Queue
from approvals.models import AuditEntry, Delivery, Heartbeat

VERSION = "0.1.0"

# Where more is owed, the events of so many requests, the oldest, tell how long.
_LOOKED_AT = 1000

# Owed since the oldest event that the channel has not been told of. What is owed without an event
# of its own, such as a link to the issue, is owed since it first failed or, before that, since it
# was raised. A refused vote is the one event that is not always owed. A run that has gone on with
# its verdict stays owed until its action has ended, which may take long and keeps nobody waiting.
_OWED = f"""
WITH owed AS MATERIALIZED (
    SELECT id, channel, request_id, told, not_before, gave_up_at IS NOT NULL AS given_up,
           channel = '{WORKFLOW}' AND memory ? '{outbox.RESUMED_AT}' AND attempts = 0 AS gone_on
    FROM {Delivery._meta.db_table}
    WHERE done < wanted
), counted AS (
    SELECT channel, count(*) FILTER (WHERE NOT given_up) AS owed,
           count(*) FILTER (WHERE given_up) AS given_up
    FROM owed
    GROUP BY channel
)
SELECT counted.channel, counted.owed, counted.given_up,
       extract(epoch FROM statement_timestamp() - min(coalesce(untold.at, not_before)))::float8
FROM counted
LEFT JOIN LATERAL (
    SELECT request_id, told, not_before FROM owed
    WHERE owed.channel = counted.channel AND NOT owed.given_up AND NOT gone_on
    ORDER BY id
    LIMIT {_LOOKED_AT}
) AS oldest ON true
LEFT JOIN LATERAL (
    SELECT min(entry.at) AS at FROM {AuditEntry._meta.db_table} AS entry
    WHERE entry.stream = oldest.request_id AND entry.number > oldest.told
      AND (entry.name || ' ' || counted.channel = ANY(%(concerns)s)
           OR (entry.name = '{EventName.DELIVERY_FAILED}'
               AND entry.data ->> 'channel' = counted.channel))
) AS untold ON true
GROUP BY counted.channel, counted.owed, counted.given_up
"""  # noqa: S608 - our own tables' names


class DeliveryCollector(Collector):
    """What each configured channel still has to be told."""

    def collect(self) -> Iterator[Metric]:
        """The gauges as the table stands; one statement, which reads only what is owed."""
        channels = list(outbox.channels())
        events = [name for name in EventName if name is not EventName.VOTE_REFUSED]
        concerns = [
            f"{name} {channel}" for name in events for channel in concerned_channels(name, channels)
        ]
        with connection.cursor() as cursor:
            cursor.execute(_OWED, {"concerns": concerns})
            found = {channel: counts for channel, *counts in cursor}
        families = [
            GaugeMetricFamily(name, text, labels=["channel"])
            for name, text in (
                ("hitl_deliveries_owed", "Deliveries that a channel is still owed."),
                ("hitl_deliveries_given_up", "Deliveries that wait for a person to retry them."),
                (
                    "hitl_delivery_oldest_owed_age_seconds",
                    "How long a channel has been owed what it is owed longest, 0 where nothing is.",
                ),
            )
        ]
        for channel in channels:
            for family, number in zip(families, found.get(channel, (0, 0, None)), strict=True):
                family.add_metric([channel], max(0, number or 0))
        yield from families


class HeartbeatCollector(Collector):
    """When each part of the background was last at work."""

    def collect(self) -> Iterator[Metric]:
        """The gauge as the table stands, 0 for a part that was never seen."""
        seen = dict(Heartbeat.objects.values_list("name", "seen_at"))
        family = GaugeMetricFamily(
            "hitl_heartbeat_timestamp_seconds",
            "When beat's last sweep ran and workers for each queue were last seen, in Unix time.",
            labels=["part"],
        )
        for part in Queue:
            family.add_metric([part], seen[part].timestamp() if part in seen else 0)
        yield family


class BuildCollector(Collector):
    """What this process runs."""

    def collect(self) -> Iterator[Metric]:
        """One sample, always 1; asks the database nothing."""
        family = GaugeMetricFamily(
            "hitl_build_info",
            "The gateway's version and that of Python, always 1.",
            labels=["version", "python_version"],
        )
        family.add_metric([VERSION, platform.python_version()], 1)
        yield family
