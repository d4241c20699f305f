"""Who could decide."""

from collections.abc import Collection

from django.contrib.auth.models import Group
from django.db.models import Count, Q


def active_members(groups: Collection[str]) -> dict[str, int]:
    """How many active accounts each of the existing groups has."""
    rows = Group.objects.filter(name__in=groups).annotate(
        active=Count("user", filter=Q(user__is_active=True))
    )
    return {row.name: row.active for row in rows}
