"""What a browser would make of a page: its elements, links and text, read by a real HTML parser."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals.core.lifecycle import Actor

HTMX = {"HX-Request": "true"}
# What approving the critical request of `scenes.DEPLOY` or `scenes.DELETE` takes besides.
TYPED = {"approve-typed": "production"}


@dataclass
class Element:
    """One start tag."""

    tag: str
    attributes: dict[str, str]


@dataclass
class Page:
    """The elements of a page in order, and its text without the markup."""

    elements: list[Element] = field(default_factory=list)
    text: str = ""

    def find(self, tag: str, **attributes: str) -> list[Element]:
        """The elements of that tag with these attributes."""
        return [
            element
            for element in self.elements
            if element.tag == tag
            and all(element.attributes.get(name) == value for name, value in attributes.items())
        ]

    def links(self) -> list[str]:
        """Every address that an element leads to."""
        return [element.attributes["href"] for element in self.find("a")]

    def undescribed(self) -> list[str]:
        """What fields say they are described by, and the page has not."""
        ids = {element.attributes.get("id") for element in self.elements}
        told = [element.attributes.get("aria-describedby", "") for element in self.elements]
        return [name for names in told for name in names.split() if name not in ids]

    def faults(self) -> Iterator[str]:
        """What a strict policy or a careful reader would not let pass."""
        for element in self.elements:
            attributes = element.attributes
            if element.tag == "style" or "style" in attributes:
                yield f"inline style in <{element.tag}>"
            if element.tag == "script" and "src" not in attributes:
                yield "inline script"
            for name, value in attributes.items():
                if name.startswith(("on", "hx-on")):
                    yield f"{name} on <{element.tag}>"
                if name in {"href", "src", "action"} and not value.startswith(
                    ("/", "?", "#", ".", "http://", "https://")
                ):
                    yield f"{name}={value!r} on <{element.tag}>"
            outside = attributes.get("href", "").startswith("http")
            if outside and attributes.get("rel") != "noopener noreferrer":
                yield f"an outside link without rel: {attributes['href']}"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.page.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.page.text += data


def read(response: Any) -> Page:
    """The page in a response of Django's test client."""
    reader = _Reader()
    reader.feed(response.content.decode())
    reader.close()
    reader.page.text = " ".join(reader.page.text.split())
    return reader.page


def signed_in(actor: Actor, *, staff: bool = False, superuser: bool = False) -> Client:
    """A browser in which that person has logged in."""
    user = User.objects.get(username=actor.name)
    if staff or superuser:
        user.is_staff, user.is_superuser = True, superuser
        user.save()
    client = Client()
    client.force_login(user)
    return client


def page_of(client: Client, request_id: object) -> Page:
    """A request's page."""
    return read(client.get(f"/approvals/{request_id}/"))


def cost(client: Client, address: str) -> int:
    """How many queries a page needs; what Django keeps in the process is read before."""
    client.get(address)
    with CaptureQueriesContext(connection) as counted:
        assert client.get(address).status_code == 200
    return len(counted)
