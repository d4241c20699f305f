"""Who is looking, and what their browser may keep."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.cache import never_cache
from django_htmx.middleware import HtmxDetails

from approvals.actors import user_actor
from approvals.core.lifecycle import Actor, Via

P = ParamSpec("P")


class PageRequest(HttpRequest):
    """A request as the middleware hands it on."""

    htmx: HtmxDetails


# The fields in which our forms ask for words, behind the prefix that tells the forms apart.
_WORDS = frozenset({"words", "typed", "preset", "reason"})


def is_live(request: PageRequest) -> bool:
    """Whether htmx asks for the live part of a page, and not for a whole one to go back to."""
    return bool(request.htmx) and not request.htmx.history_restore_request


View = Callable[Concatenate[PageRequest, P], HttpResponseBase]


def signed_in(view: View[P]) -> View[P]:
    """Ask for a login first, and let nobody keep what they were shown.

    What somebody wrote into a form before their session ended is given back with the question.
    """
    asked = login_required(view)

    @wraps(view)
    def page(request: PageRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        response: HttpResponseBase
        if not request.user.is_authenticated and (typed := _typed(request.POST)):
            told = {"typed": typed, "next": request.get_full_path()}
            response = render(request, "approvals/signed_out.html", told, status=403)
        else:
            response = asked(request, *args, **kwargs)
        # The same address answers a page or its live part.
        patch_vary_headers(response, ["HX-Request"])
        return response

    return never_cache(page)


def form_too_old(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """What Django answers to a form without its token: why, and what somebody had written."""
    return render(request, "403_csrf.html", {"typed": _typed(request.POST)}, status=403)


def _typed(sent: QueryDict) -> str:
    """What a person chose and wrote into a form of ours, each on a line of its own."""
    # This answers every form of the site, so only what is known to be words is given back: what
    # is left out of a list of fields to hide would be a password in clear.
    given = (sent.getlist(name) for name in sent if name.rpartition("-")[2] in _WORDS)
    return "\n".join(filter(None, (text.strip() for texts in given for text in texts)))


def actor_of(request: HttpRequest) -> Actor:
    """The actor behind the session; reads its groups."""
    return user_actor(request.user, Via.WEB)
