#!/usr/bin/env python
"""Run a management command of the gateway."""

import gc
import os
import sys

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from hitl_project import local

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitl_project.settings")
    if sys.argv[1:2] == ["up"]:
        # It makes the secrets and addresses that settings ask for, so it runs without them.
        sys.exit(local.main(sys.argv[2:]))
    if sys.argv[1:2] == ["web"]:
        # A pool of connections is for threads; settings read this before a command could say it.
        os.environ.setdefault("HITL_DATABASE_POOL", "1")
    # What a start makes stays, so looking for garbage among it is in vain, then and later.
    gc.disable()
    try:
        django.setup()
    except ImproperlyConfigured as error:
        # Where the settings themselves are at fault, `help` goes on without them; else it is said
        # now: Django would set up the rest once more, and complain of that alone.
        if settings.configured:
            sys.exit(f"Error: {error}")
    gc.freeze()
    gc.enable()
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Error: {error}")
