"""The gateway's settings, with the channels that a test names in HITL_TEST_CHANNELS."""

import os

from tests.settings import *  # noqa: F403

HITL_CHANNELS = [name for name in os.environ.get("HITL_TEST_CHANNELS", "").split(",") if name]
