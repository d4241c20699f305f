"""What the pages have in common: templates, Markdown, times, and the person one acts as."""

import json
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sandbox.github.answers import Problem
from sandbox.linear import cast
from sandbox.linear.errors import InputError
from sandbox.store import clean_text

ACTOR_COOKIE = "sandbox_actor"
# Those whom the pages let one act as; the gateway and Linear itself act on their own.
ACTORS = ("ada", "ben", "nora", "rosa", "bot")
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HTML_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)

_markdown = MarkdownIt("commonmark", {"html": False, "linkify": False, "breaks": True})
_markdown.enable(["table", "strikethrough"]).disable("image")


def _rendered(text: str | None) -> Markup:
    """Markdown as HTML; raw HTML in it is shown as text, comments in it not at all."""
    visible = HTML_COMMENT.sub("", text or "")
    return Markup(_markdown.render(visible))  # noqa: S704  # html is off: the renderer escapes


def _time(text: str) -> Markup:
    moment = datetime.fromisoformat(text)
    shown = f"{moment.day} {moment:%b, %H:%M:%S}"
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(text, shown)


def _clock(text: str) -> Markup:
    moment = datetime.fromisoformat(text)
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(text, f"{moment:%H:%M:%S}")


def _actor_name(handle: str) -> str:
    actor = cast.ACTOR_BY_HANDLE.get(handle)
    return actor.name if actor else "Linear itself"


def _pretty(value: object) -> str:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return str(value)
    return json.dumps(value, ensure_ascii=False, indent=2)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


class Pages:
    """Renders templates; every page knows whom its reader acts as."""

    def __init__(self, public_url: str) -> None:
        self.public_url = public_url
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "markdown": _rendered,
            "time": _time,
            "clock": _clock,
            "actor_name": _actor_name,
            "pretty": _pretty,
            "slug": _slug,
        }
        self._templates.globals |= {
            "actors": [cast.ACTOR_BY_HANDLE[handle] for handle in ACTORS],
            "priorities": cast.PRIORITIES,
        }

    def render(
        self, request: Request, template: str, status: int = 200, **context: object
    ) -> HTMLResponse:
        """A page; `?as=ben` changes whom one acts as, and a cookie remembers it."""
        acting_as = actor_handle(request)
        page = self._templates.get_template(template).render(
            acting_as=acting_as, path=request.url.path, **context
        )
        response = HTMLResponse(page, status, headers={
            "Content-Security-Policy": POLICY,
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        })  # fmt: skip
        if request.query_params.get("as") == acting_as:
            response.set_cookie(ACTOR_COOKIE, acting_as, httponly=True, samesite="strict")
        return response

    def page(
        self, show: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """A handler whose refusals become a page that says why."""

        async def handle(request: Request) -> Response:
            try:
                return await show(request)
            except InputError as error:
                missing = error.message.startswith("Entity not found")
                sentence = str((error.extensions or {})["userPresentableMessage"])
                return self._problem(request, 404 if missing else 422, sentence)
            except LookupError as error:
                return self._problem(request, 404, str(error))
            except Problem as problem:
                return self._problem(request, problem.status, "There is nothing at this address.")

        return handle

    def _problem(self, request: Request, status: int, sentence: str) -> Response:
        back = request.headers.get("referer") or "/"
        if not back.startswith((str(request.base_url), self.public_url)):
            back = "/"
        return self.render(request, "problem.html", status, sentence=sentence, back=back)


def actor_handle(request: Request) -> str:
    """Whom the reader acts as: the page's choice, else the remembered one, else the first."""
    for handle in (request.query_params.get("as"), request.cookies.get(ACTOR_COOKIE)):
        if handle in ACTORS:
            return str(handle)
    return ACTORS[0]


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a posted form, cleaned."""
    form: Any = await request.form()
    return {name: clean_text(value) for name, value in form.items() if isinstance(value, str)}


def actor_of_form(form: dict[str, str]) -> cast.Actor:
    """The actor a form names. Raises LookupError."""
    handle = form.get("actor", "")
    if handle not in ACTORS:
        raise LookupError("Choose whom to act as first.")
    return cast.ACTOR_BY_HANDLE[handle]


def back_to(path: str) -> Response:
    """Where a form leads once it was obeyed."""
    return RedirectResponse(path, 303)
