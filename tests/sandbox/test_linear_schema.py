"""The sandbox's schema is a true part of Linear's."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    is_specified_scalar_type,
)

from tests.tools import require_contracts

OURS = Path(__file__).parents[2] / "sandbox" / "linear.graphql"


@pytest.fixture(scope="module")
def real() -> GraphQLSchema:
    text = (require_contracts() / "linear" / "schema.graphql").read_text("utf-8")
    return build_schema(text, assume_valid=True)


def differences(ours: GraphQLSchema, real: GraphQLSchema) -> Iterator[str]:
    for name, our_type in ours.type_map.items():
        if name.startswith("__") or is_specified_scalar_type(our_type):
            continue
        real_type = real.type_map.get(name)
        if type(real_type) is not type(our_type):
            yield f"{name} is not a {type(our_type).__name__} at Linear"
        else:
            yield from _inside(our_type, real_type)


def _inside(our_type: GraphQLNamedType, real_type: GraphQLNamedType | None) -> Iterator[str]:
    match our_type, real_type:
        case GraphQLEnumType(), GraphQLEnumType():
            for value in set(our_type.values) - set(real_type.values):
                yield f"{our_type.name} has no value {value}"
        case GraphQLInputObjectType(), GraphQLInputObjectType():
            yield from _members(our_type.name, our_type.fields, real_type.fields)
            for name in _required(real_type.fields) - set(our_type.fields):
                yield f"{our_type.name}.{name} is required at Linear"
        case (
            (GraphQLObjectType() | GraphQLInterfaceType()),
            (GraphQLObjectType() | GraphQLInterfaceType()),
        ):
            yield from _members(our_type.name, our_type.fields, real_type.fields)
            for name in set(our_type.fields) & set(real_type.fields):
                given, wanted = our_type.fields[name].args, real_type.fields[name].args
                yield from _members(f"{our_type.name}.{name}", given, wanted)
                for missing in _required(wanted) - set(given):
                    yield f"{our_type.name}.{name}({missing}:) is required at Linear"


def _members(owner: str, ours: object, real: object) -> Iterator[str]:
    assert isinstance(ours, dict)
    assert isinstance(real, dict)
    for name, member in ours.items():
        if name not in real:
            yield f"{owner} has no {name}"
        elif str(member.type) != str(real[name].type):
            yield f"{owner}.{name} is {real[name].type} at Linear, not {member.type}"


def _required(members: object) -> set[str]:
    assert isinstance(members, dict)
    return {
        name
        for name, member in members.items()
        if str(member.type).endswith("!") and not _has_default(member)
    }


def _has_default(member: object) -> bool:
    node = getattr(member, "ast_node", None)
    return node is not None and node.default_value is not None


def test_every_name_and_type_of_ours_is_linears(real: GraphQLSchema) -> None:
    ours = build_schema(OURS.read_text("utf-8"))
    assert list(differences(ours, real)) == []


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ("type Issue { nickname: String }", "Issue has no nickname"),
        ("type Issue { title: Int! }", "Issue.title is String! at Linear, not Int!"),
        ("input IssueCreateInput { title: String }", "IssueCreateInput.teamId is required"),
        ("type Issue { comments(colour: String): Int }", "Issue.comments has no colour"),
        ("enum PaginationOrderBy { height }", "PaginationOrderBy has no value height"),
        ("type Approval { id: ID! }", "Approval is not a GraphQLObjectType at Linear"),
    ],
)
def test_the_comparison_finds_a_mistake(real: GraphQLSchema, mistake: str, sentence: str) -> None:
    ours = build_schema(mistake, assume_valid=True)
    assert any(found.startswith(sentence) for found in differences(ours, real))
