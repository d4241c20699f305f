"""The product's settings, with the graphs of somebody who brings their own."""

from tests.settings import *  # noqa: F403

HITL_GRAPHS = {
    name: (f"tests.e2e.graphs.{name}", "1")
    for name in ("one_question", "same_question_twice", "two_regions", "many_questions")
}
