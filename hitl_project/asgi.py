"""The ASGI application that the web server runs."""

import os

from django.core.asgi import get_asgi_application

from hitl_project.limits import limit_bodies
from hitl_project.tracing import follow_web

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitl_project.settings")
application = follow_web(limit_bodies(get_asgi_application()))
