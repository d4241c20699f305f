"""The row that says up to when final requests are rolled up; its lock orders what depends on it."""

from datetime import datetime, timedelta

from approvals.models import RollUpMark

# A mark that stands longer than this has something in its way, or everything before it.
LATE = timedelta(hours=1)


def marked() -> datetime | None:
    """Up to which `decided_at`, itself included, requests are rolled up; None before the first."""
    return RollUpMark.objects.values_list("up_to_at", flat=True).first()


def locked() -> RollUpMark:
    """The mark, locked until the caller's transaction ends, so that one at a time moves it."""
    RollUpMark.objects.get_or_create(pk=1)
    return RollUpMark.objects.select_for_update().get(pk=1)
