"""People for whom a provider of single sign-on vouches, and the accounts they have here."""

from collections.abc import Collection
from dataclasses import dataclass

from django.contrib.auth.models import Group, User
from django.db import IntegrityError, transaction

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
    try:
        return _admit(person, frozenset(governed) - {OPERATORS}, actor)
    except IntegrityError:
        # The same person in another tab, a moment earlier: there is an account by now.
        return _admit(person, frozenset(governed) - {OPERATORS}, actor)


@transaction.atomic
def _admit(person: Person, governed: frozenset[str], actor: Actor) -> User:
    known = ProviderIdentity.objects.filter(issuer=person.issuer, subject=person.subject).first()
    account_id = known.user_id if known else _new_account(person).pk
    user = User.objects.select_for_update().get(pk=account_id)
    if not user.is_active:
        raise NotAllowed("Your account here is switched off.")
    had = set(user.groups.filter(name__in=governed).values_list("name", flat=True))
    given = person.groups & governed
    user.groups.remove(*Group.objects.filter(name__in=had - given))
    user.groups.add(*(Group.objects.get_or_create(name=name)[0] for name in sorted(given - had)))
    if known is None or had != given:
        record_account(user.pk, actor=actor, changed=["groups"] if had != given else [])
    return user


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
