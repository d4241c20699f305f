"""The six agents and the operations each of them owns."""

from collections.abc import Mapping
from typing import Literal, get_args

Agent = Literal[
    "supervisor", "feature_dev", "infrastructure", "cicd", "code_review", "documentation"
]

AGENTS: tuple[str, ...] = get_args(Agent)

# The supervisor plans and routes; it carries out nothing itself.
OPERATIONS: Mapping[str, frozenset[str]] = {
    "supervisor": frozenset(),
    "feature_dev": frozenset({"plan", "write_code", "run_tests", "lint", "build", "db_migrate"}),
    "infrastructure": frozenset(
        {
            "terraform_apply",
            "docker_compose_up",
            "k8s_apply",
            "restart_service",
            "scale_service",
            "db_migrate",
        }
    ),
    "cicd": frozenset(
        {
            "run_ci",
            "run_tests",
            "build",
            "deploy",
            "rollback",
            "db_migrate",
            "merge_pull_request",
        }
    ),
    "code_review": frozenset({"review_code", "lint", "run_tests"}),
    "documentation": frozenset({"update_docs"}),
}


def owner_of(operation: str) -> str:
    """The agent that takes a single task; cicd for an operation that several or none own."""
    owners = [agent for agent in AGENTS if operation in OPERATIONS[agent]]
    return owners[0] if len(owners) == 1 else "cicd"
