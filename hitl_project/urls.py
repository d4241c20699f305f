"""Every address of the gateway."""

from django.contrib import admin
from django.urls import include, path

from approvals.health import healthz, metrics, readyz
from approvals.stream import events
from hitl_project.api import api, no_such_path
from integrations.webhooks import resume

urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/", include("django.contrib.auth.urls")),
    path("api/", api.urls),
    path("api/<path:rest>", no_such_path),
    path("resume", resume, name="resume"),
    path("webhooks/linear", resume),
    path("events", events, name="events"),
    path("metrics", metrics, name="metrics"),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("runs/", include("agents.urls")),
    path("", include("approvals.urls")),
]
