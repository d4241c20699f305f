"""The addresses of pages for people."""

from django.urls import path

from approvals.views import batch, history, insights, preferences, queue, request

urlpatterns = [
    path("", queue.queue, name="queue"),
    path("batch/", batch.batch, name="batch"),
    path("history/", history.history, name="history"),
    path("history.csv", history.history_csv, name="history-csv"),
    path("insights/", insights.insights, name="insights"),
    path("insights/<slug:name>.svg", insights.chart, name="insights-chart"),
    path("preferences/", preferences.show, name="preferences"),
    path("approvals/<uuid:request_id>/", request.request_page, name="request"),
    path("approvals/<uuid:request_id>/approve/", request.approve, name="approve"),
    path("approvals/<uuid:request_id>/reject/", request.reject, name="reject"),
    path("approvals/<uuid:request_id>/cancel/", request.cancel, name="cancel"),
    path(
        "approvals/<uuid:request_id>/deliveries/<int:delivery_id>/retry/",
        request.retry,
        name="retry-delivery",
    ),
]
