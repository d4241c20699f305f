"""What the metrics need beside the tables they are about."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from approvals.core.risk import Risk


class RolledUpRequests(models.Model):
    """How many final requests of one kind there were up to the mark, and how long they took.

    Whole microseconds, because sums of floats would shrink a little when they are split anew.
    `within` counts those that took at most each bound of the latency's buckets, in their order.
    """

    agent = models.TextField()
    risk_level = models.CharField(max_length=10, choices=[(r, r) for r in Risk])
    environment = models.TextField()
    status = models.CharField(max_length=20)
    count = models.BigIntegerField(default=0)
    microseconds = models.BigIntegerField(default=0)
    within = ArrayField(models.BigIntegerField(), default=list)

    class Meta:
        verbose_name_plural = "rolled up requests"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["agent", "risk_level", "environment", "status"],
                name="one_roll_up_a_kind",
            )
        ]

    def __str__(self) -> str:
        return f"{self.agent} {self.risk_level} {self.environment} {self.status}: {self.count}"


class RollUpMark(models.Model):
    """The one row that says up to which `decided_at` final requests are rolled up."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    up_to_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=1), name="one_roll_up_mark")
        ]

    def __str__(self) -> str:
        return str(self.up_to_at)


class MetricLabel(models.Model):
    """A value that a label may have; what comes after the bound is `other` for ever."""

    label = models.CharField(max_length=40)
    value = models.TextField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["label", "value"], name="one_value_a_label")
        ]

    def __str__(self) -> str:
        return f"{self.label}={self.value}"


class Tally(models.Model):
    """A running count of what no table can tell, raised in the transaction of what it counts.

    `values` are the metric's label values in their order. A shard is a part of the sum, so that
    processes do not queue for one row.
    """

    metric = models.CharField(max_length=80)
    values = ArrayField(models.TextField())
    shard = models.SmallIntegerField()
    count = models.BigIntegerField(default=0)
    microseconds = models.BigIntegerField(default=0)
    within = ArrayField(models.BigIntegerField(), default=list)

    class Meta:
        verbose_name_plural = "tallies"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["metric", "values", "shard"], name="one_tally_a_shard")
        ]

    def __str__(self) -> str:
        return f"{self.metric} {self.values}: {self.count}"
