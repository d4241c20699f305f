"""What the first page of the admin shows before its lists."""

from typing import Any

from django import template
from django.apps import apps
from django.contrib import admin

register = template.Library()


@register.simple_tag(takes_context=True)
def concerns(context: Any) -> list[Any]:
    """What the lists that whoever looks may see count, the most urgent first."""
    shown = (
        admin.site.get_model_admin(model)
        for model in apps.get_models()
        if admin.site.is_registered(model)
    )
    found = [
        concern
        for one in shown
        if hasattr(one, "concerns") and one.has_view_permission(context["request"])
        for concern in one.concerns()
    ]
    return sorted(found)
