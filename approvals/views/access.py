"""Who is looking, and what their browser may keep."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from django.views.decorators.cache import never_cache
from django_htmx.middleware import HtmxDetails

from approvals.actors import user_actor
from approvals.core.lifecycle import Actor, Via

P = ParamSpec("P")


class PageRequest(HttpRequest):
    """A request as the middleware hands it on."""

    htmx: HtmxDetails


View = Callable[Concatenate[PageRequest, P], HttpResponse]


def signed_in(view: View[P]) -> View[P]:
    """Ask for a login first, and let nobody keep what they were shown."""

    @wraps(view)
    def page(request: PageRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        response = view(request, *args, **kwargs)
        # The same address answers a page or its live part.
        patch_vary_headers(response, ["HX-Request"])
        return response

    return never_cache(login_required(page))


def actor_of(request: HttpRequest) -> Actor:
    """The actor behind the session; reads its groups."""
    return user_actor(request.user, Via.WEB)
