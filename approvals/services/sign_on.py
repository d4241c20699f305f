"""People for whom a provider of single sign-on vouches, and the accounts they have here."""

from collections.abc import Collection
from dataclasses import dataclass

from django.contrib.auth.models import Group, User
from django.db import connection, transaction

from approvals.core.lifecycle import Actor, Via
from approvals.core.roles import OPERATORS, may_vouch
from approvals.errors import NotAllowed
from approvals.models import ProviderIdentity
from approvals.services.people import record_account

SINGLE_SIGN_ON = Actor(name="single sign-on", via=Via.SIGN_ON, key="single sign-on")


@dataclass(frozen=True)
class Person:
    """Somebody who logged in at a provider, as it knows them.

    Issuer and subject say who it is. All else may change there, and be somebody else's tomorrow:
    `name`, `email` and the full name are what a new account begins with. `groups` are ours.
    """

    issuer: str
    subject: str
    name: str
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    groups: frozenset[str] = frozenset()


def admit_person(
    person: Person, *, governed: Collection[str], actor: Actor = SINGLE_SIGN_ON
) -> User:
    """Return the account of a person, made where there is none, in the groups the provider gives.

    `governed` are the groups whose members the provider names: the account leaves those that it
    does not give, and keeps any other. Raises NotAllowed for an account that is switched off and
    where the name of a new one is taken.
    """
    if not may_vouch(actor):
        raise NotAllowed("Only single sign-on says who logged in at its provider.")
    governed = frozenset(governed) - {OPERATORS}
    with transaction.atomic():
        account_id, is_new = _account_of(person)
        user = User.objects.select_for_update().get(pk=account_id)
        if not user.is_active:
            raise NotAllowed("Your account here is switched off.")
        had = set(user.groups.filter(name__in=governed).values_list("name", flat=True))
        given = person.groups & governed
        user.groups.remove(*Group.objects.filter(name__in=had - given))
        for name in sorted(given - had):
            user.groups.add(Group.objects.get_or_create(name=name)[0])
        if is_new or had != given:
            record_account(user.pk, actor=actor, changed=["groups"] if had != given else [])
    return user


def _account_of(person: Person) -> tuple[int, bool]:
    """The account that is linked to the person, and whether it was made just now."""
    linked = ProviderIdentity.objects.filter(issuer=person.issuer, subject=person.subject)
    if (known := linked.first()) is None:
        # Two tabs may log in for the first time at once: the second one finds what the first made.
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE approvals_provideridentity IN SHARE ROW EXCLUSIVE MODE")
        known = linked.first()
    return (known.user_id, False) if known else (_new_account(person).pk, True)


def _new_account(person: Person) -> User:
    if not person.name:
        raise NotAllowed("Your provider tells no name that an account here could have.")
    # Whoever may choose a name at the provider must not become somebody else here.
    if User.objects.filter(username__iexact=person.name).exists():
        raise NotAllowed(
            f"There is an account named {person.name} already, and it is not linked to this login."
            " Somebody who runs the gateway can link it."
        )
    user = User.objects.create_user(
        person.name,
        email=person.email,
        first_name=person.first_name,
        last_name=person.last_name,
    )
    ProviderIdentity.objects.create(user=user, issuer=person.issuer, subject=person.subject)
    return user
