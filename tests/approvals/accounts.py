"""Accounts as the tests of the admin make, edit and look them up."""

from django.contrib.auth.models import User
from django.test import Client

from approvals import audit, services
from approvals.models import AuditEntry
from approvals.services.people import account_stream
from tests.approvals.pages import read

PEOPLE = "/admin/auth/user/"
PROFILES = "/admin/approvals/approverprofile/"
LINEAR = "11111111-2222-4333-8444-555555555555"
PASSWORD = "a-long-password-7"
PASSWORDS = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}


def account(name: str = "maria") -> User:
    """The account as it stands in the table."""
    return User.objects.get(username=name)


def groups_of(name: str = "maria") -> list[str]:
    """The names of the account's groups."""
    return sorted(account(name).groups.values_list("name", flat=True))


def saved(client: Client, address: str, **facts: object) -> None:
    """Send a form as its page shows it, but for these facts; None leaves a field out."""
    sent: dict[str, object] = {}
    for field in read(client.get(address)).find("input"):
        given = field.attributes
        box = given.get("type") == "checkbox"
        if "name" in given and (not box or "checked" in given):
            sent[given["name"]] = given.get("value", "on" if box else "")
    sent.pop("_addanother", None)
    sent = {name: value for name, value in (sent | facts).items() if value is not None}
    answer = client.post(address, sent)
    assert answer.status_code == 302, read(answer).text


def told(user: User) -> list[AuditEntry]:
    """What the log says of the account, oldest first; its chain holds."""
    assert list(audit.broken_links()) == []
    return list(AuditEntry.objects.filter(stream=account_stream(user.pk)).order_by("number"))


def linked(name: str) -> None:
    """An account with a Linear user and nothing else."""
    services.create_approver(name, email=f"{name}@example.com", groups=[], linear_user_id=LINEAR)
