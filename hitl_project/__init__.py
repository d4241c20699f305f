"""The composition root: settings, URLs, processes; the only package that may import all others."""

from hitl_project.celery import app as celery_app

__all__ = ["celery_app"]
