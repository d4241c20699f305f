"""A program that prints its credential and fails: `python -m tests.hitl_project.leaking`."""

import os
import sys

sys.exit(f"Access denied for the key {os.environ['DEPLOY_KEY']}")
