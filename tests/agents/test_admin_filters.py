"""A list of the admin is filtered by what it offers, and by nothing else that one may type."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import JSONField
from django.test import Client

from agents.models import Run
from approvals.models import ApprovalRequest
from tests.agents.rows import execution_row, run_row
from tests.approvals.pages import signed_in
from tests.approvals.scenes import MIGRATE, opened, person

pytestmark = pytest.mark.django_db
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)  # noqa: SLF001
TASK = {"operation": "deploy", "environment": "production", "deploy_token": "hunter2-hunter2"}


@pytest.fixture
def staff() -> Client:
    """A browser of somebody who may look at every list."""
    for number in range(2):
        execution_row(run_row(task=TASK, workflow=f"w-{number}"))
        opened(TASK if number else MIGRATE, agent_name=f"agent {number}")
    return signed_in(person("root", "operators"), superuser=True)


def place(model: Any) -> str:
    """The address of a model's list."""
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


def offered(client: Client, model: Any) -> list[str]:
    """The parameters of the filters that a list shows."""
    specs = client.get(place(model)).context["cl"].filter_specs
    return [name for spec in specs for name in spec.expected_parameters()]


def guesses(model: Any) -> Iterator[str]:
    """Parameters that would tell a value letter by letter, or what no list is filtered by."""
    lookups = cycle(("startswith", "contains", "regex", "gt"))
    for field, how in zip(model._meta.concrete_fields, lookups, strict=False):
        yield f"{field.name}__{how}"
        if isinstance(field, JSONField):
            yield f"{field.name}__deploy_token__startswith"
        if field.related_model in {ApprovalRequest, Run}:
            yield f"{field.name}__task__deploy_token__startswith"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_list_is_filtered_by_what_its_filters_offer_alone(staff: Client, model: Any) -> None:
    known = set(offered(staff, model))
    for name in {*guesses(model), "no_such_field", "pk"} - known:
        assert staff.get(place(model), {name: "h"}).status_code == 400, name
    pressed = staff.post(f"{place(model)}?pk__gt=1", {"action": "x", "_selected_action": "1"})
    assert pressed.status_code == 400


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_filter_s_value_that_makes_no_sense_finds_nothing_or_leads_back(
    staff: Client, model: Any
) -> None:
    filters = offered(staff, model)
    for name in (*filters, "q", "p", "o"):
        for value in ("99999999999999999999", "²", "9999-99-99", "a\x00b"):
            answer = staff.get(place(model), {name: value})
            assert answer.status_code in {200, 302, 400}, (name, value)
        if name in filters:
            assert (answer.status_code, answer["Location"]) == (302, f"{place(model)}?e=1")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_an_address_of_a_row_that_cannot_be_leads_back(staff: Client, model: Any) -> None:
    for key in ("_00", "a_00b", "nothing", "99999999999999999999"):
        assert staff.get(f"{place(model)}{key}/change/").status_code == 302, key
