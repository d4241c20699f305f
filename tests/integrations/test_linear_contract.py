"""Our documents and our reading of webhooks, against Linear's own schema and examples."""

import json
from pathlib import Path

import pytest
from graphql import GraphQLSchema, build_schema, parse, validate

from approvals.core.lifecycle import Choice, Via
from integrations.linear import documents
from integrations.linear.config import LinearConfig
from integrations.linear.payload import Message, read_message

DOCUMENTS = {
    name: text
    for name, text in vars(documents).items()
    if name.isupper() and not name.startswith("_")
}
REQUEST = "550e8400-e29b-41d4-a716-446655440000"
ADA = "b5ea5f1f-8adc-4f52-b4bd-ab4e84cf51ba"


@pytest.fixture(scope="module")
def schema(contracts_dir: Path) -> GraphQLSchema:
    """Linear's published schema."""
    text = (contracts_dir / "linear" / "schema.graphql").read_text()
    return build_schema(text, assume_valid=True)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_document_is_valid_in_linears_schema(schema: GraphQLSchema, name: str) -> None:
    assert validate(schema, parse(DOCUMENTS[name])) == []


def sample(folder: Path, name: str) -> Message:
    """One of the contract's webhook bodies, as read."""
    body = (folder / "linear" / f"{name}.json").read_bytes()
    return read_message(body, LinearConfig())


def test_the_sample_of_a_move_to_done_reads_as_an_approval(contracts_dir: Path) -> None:
    message = sample(contracts_dir, "issue_done")
    assert message.references == (REQUEST, "CHEF-271")
    assert (message.person_id, message.person_name) == (ADA, "Ada Approver")
    assert message.sent_at == pytest.approx(1795169730.535)
    assert message.word is not None
    assert (message.word.choice, message.word.via) == (Choice.APPROVE, Via.LINEAR_MOVE)
    assert message.word.comment == "Moved to Done by Ada Approver"


def test_the_sample_of_a_move_to_canceled_reads_as_a_rejection(contracts_dir: Path) -> None:
    message = sample(contracts_dir, "issue_canceled")
    assert message.word is not None
    assert message.word.choice is Choice.REJECT


def test_the_sample_of_a_comment_reads_as_an_approval(contracts_dir: Path) -> None:
    message = sample(contracts_dir, "comment_create")
    assert message.references == (REQUEST, "CHEF-271")
    assert message.word is not None
    assert (message.word.choice, message.word.via, message.word.comment) == (
        Choice.APPROVE,
        Via.LINEAR_COMMENT,
        "canary looked clean",
    )


def test_the_sample_of_a_reaction_names_the_author_of_the_comment(contracts_dir: Path) -> None:
    message = sample(contracts_dir, "reaction_create")
    assert message.references == (REQUEST,)
    assert message.reacted_to == "4d1f6a0e-7c0b-4a8e-9b1d-5c2f0b7a9e31"
    assert message.word is not None
    assert (message.word.choice, message.word.via) == (Choice.APPROVE, Via.LINEAR_REACTION)


def test_a_later_edit_of_a_done_issue_says_nothing(contracts_dir: Path) -> None:
    event = json.loads((contracts_dir / "linear" / "issue_done.json").read_text())
    event["updatedFrom"] = {"title": "before"}
    message = read_message(json.dumps(event).encode(), LinearConfig())
    assert message.word is None
    assert message.silence == "the state of the issue did not change"
