"""The workflows: the only package that imports langgraph."""

import os

# Only plain values come back from a checkpoint; langgraph reads this when it is imported.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
