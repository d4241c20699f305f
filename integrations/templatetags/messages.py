"""Filters for templates/messages: no value may stand in one without passing through a filter here.

Usage: `{% load messages %}{% autoescape off %}… {{ request.operation|md }}`.
"""

import json
from datetime import UTC, datetime
from typing import Any

from django import template

from integrations import markdown

register = template.Library()


@register.filter
def md(value: object, limit: int = 1000) -> str:
    """The value as one line of plain text."""
    return markdown.escape(str(value), limit)


@register.filter
def md_quote(value: object, limit: int = 2000) -> str:
    """The value as a block quotation."""
    return markdown.quote(str(value), limit)


@register.filter
def md_code(value: object, limit: int = 1000) -> str:
    """The value as inline code."""
    return markdown.code(str(value), limit)


@register.filter
def md_fence(value: object, limit: int = 8000) -> str:
    """The value as a code block."""
    return markdown.fence(str(value), limit)


@register.filter
def md_json(value: Any, limit: int = 8000) -> str:
    """JSON as a code block, indented, its keys in their own order."""
    return markdown.fence(json.dumps(value, indent=2, ensure_ascii=False, default=str), limit)


@register.filter
def md_time(value: datetime) -> str:
    """A moment in UTC, to the minute."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


@register.filter
def md_link(address: str, text: str) -> str:
    """A link of our own; an address with characters that could end it is shown as code."""
    if any(char in address for char in "<>() \n\\") or not address.startswith(
        ("http://", "https://")
    ):
        return markdown.code(address)
    return f"[{markdown.escape(text)}]({address})"
