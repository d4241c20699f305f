"""The addresses of the pages about runs."""

from django.urls import path

from agents import views

urlpatterns = [
    path("", views.run_list, name="runs"),
    path("<uuid:run_id>/", views.run_page, name="run"),
    path("<uuid:run_id>/done/", views.settle, {"outcome": "done"}, name="settle-done"),
    path("<uuid:run_id>/retry/", views.settle, {"outcome": "retry"}, name="settle-retry"),
    path("<uuid:run_id>/abandon/", views.settle, {"outcome": "abandon"}, name="settle-abandon"),
    path("<uuid:run_id>/cancel/", views.cancel, name="cancel-run"),
    path("<uuid:run_id>/output/<uuid:execution_id>/", views.output, name="run-output"),
]
