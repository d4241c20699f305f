"""How somebody likes the pages in this browser."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from approvals import preferences
from approvals.forms import PreferencesForm
from approvals.views.access import PageRequest, signed_in


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def show(request: PageRequest) -> HttpResponse:
    """The choices, or keep them; changes nothing but a cookie of this browser."""
    chosen = preferences.read(request.COOKIES)
    if request.method != "POST":
        form = PreferencesForm.of(chosen)
        return render(request, "approvals/preferences.html", {"form": form})
    form = PreferencesForm(request.POST)
    if not form.is_valid():
        return render(request, "approvals/preferences.html", {"form": form}, status=422)
    answer = redirect("preferences")
    preferences.write(answer, form.chosen())
    messages.success(request, "This browser remembers your preferences.")
    return answer
