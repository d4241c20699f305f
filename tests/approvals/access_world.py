"""A gateway with one of everything, and everybody who may knock: what the table of access asks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.contrib.auth.tokens import default_token_generator
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.http import HttpResponseBase
from django.test import Client
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from agents.models import Execution, Run
from approvals import services
from approvals.actors import user_actor
from approvals.clock import clock
from approvals.core.lifecycle import Actor, Via
from approvals.models import (
    ApiToken,
    ApprovalRequest,
    ApproverProfile,
    AuditEntry,
    ChannelPause,
    Delivery,
    Heartbeat,
    ProviderIdentity,
    Vote,
)
from tests.agents.rows import execution_row, run_row
from tests.approvals.accounts import PASSWORD, PASSWORDS
from tests.approvals.admin_rows import webhook
from tests.approvals.scenes import approve, opened, person
from tests.integrations.linear_world import dumped, move_event, signed

# Decided by platform engineers or release managers, and not critical: one vote is enough.
TERRAFORM = {"operation": "terraform_apply", "environment": "staging"}
# Each account of the table: its groups and its flags.
ACCOUNTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "account": ((), ()),
    "developer": (("developers",), ()),
    "approver": (("platform",), ()),
    "asker": (("platform",), ()),
    "operator": (("operators",), ("staff",)),
    "superuser": ((), ("staff", "superuser")),
    "staff": ((), ("staff",)),
    "staff-approver": (("platform",), ("staff",)),
}
# Each live token of the table: whose it is, and its scope.
TOKENS: Mapping[str, tuple[str, str]] = {
    "asker:request": ("asker", "request"),
    "account:request": ("account", "request"),
    "operator:request": ("operator", "request"),
    "superuser:request": ("superuser", "request"),
    "asker:decide": ("asker", "decide"),
    "developer:decide": ("developer", "decide"),
    "operator:decide": ("operator", "decide"),
    "superuser:decide": ("superuser", "decide"),
    "approver:decide": ("approver", "decide"),
}
METRICS_TOKEN = "scrape-me"
WEBHOOK_SECRET = "a secret of the tests"
# Who moved the issue, by the secret that the webhook is signed with.
LINEAR_APPROVER, LINEAR_STRANGER = "linear-approver", "linear-stranger"
WEBHOOKS: Mapping[str, tuple[str, str]] = {
    "forged": ("another secret", LINEAR_APPROVER),
    "signed:stranger": (WEBHOOK_SECRET, LINEAR_STRANGER),
    "signed:approver": (WEBHOOK_SECRET, LINEAR_APPROVER),
}

# The actions of each list of the admin, as the table has them.
ACTIONS: Mapping[str, tuple[str, ...]] = {
    "approvals/approvalrequest": ("approve", "reject", "cancel"),
    "approvals/delivery": ("retry",),
    "approvals/apitoken": ("revoke",),
    "agents/run": ("settle_done", "settle_retry", "settle_abandon", "cancel"),
}
# Django's own, which no list here has.
REMOVAL = "delete_selected"
_LOGINS = {"/accounts/login/", "/admin/login/"}

# What access is about: nothing of it may change by a call that is refused. What such a call leaves
# besides, such as the note that a vote was refused, which channels are told, is left out.
_STANDING: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (ApprovalRequest, ("id", "status", "digest", "expires_at")),
    (Vote, ("id", "user_id", "choice")),
    (Run, ("id", "status", "may_continue")),
    (Execution, ("id", "status", "retry_granted_at")),
    (User, ("id", "username", "password", "email", "is_active", "is_staff", "is_superuser")),
    (User.groups.through, ("user_id", "group_id")),
    (User.user_permissions.through, ("user_id", "permission_id")),
    (Group, ("id", "name")),
    (ApproverProfile, ("user_id", "linear_user_id")),
    (ProviderIdentity, ("user_id", "issuer", "subject")),
    (ApiToken, ("id", "user_id", "scope", "digest", "revoked_at")),
    (AuditEntry, ("id", "name")),
)


@dataclass(frozen=True)
class Call:
    """A method and a route such as `/runs/{run_id}/`; `verb` tells apart what one route can do."""

    method: str
    route: str
    verb: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.route}{f':{self.verb}' if self.verb else ''}"


class World:
    """Knocks as anybody at any route, and undoes whatever came of it."""

    def __init__(self) -> None:
        for name, (groups, flags) in ACCOUNTS.items():
            person(name, *groups)
            user = User.objects.get(username=name)
            user.is_staff, user.is_superuser = "staff" in flags, "superuser" in flags
            user.set_password(PASSWORD)
            user.save()
        person("former", "platform", is_superuser=True, is_staff=True)
        self._sessions = {name: _session(name) for name in (*ACCOUNTS, "former")}
        self._tokens = _tokens()
        self._rows = _rows()
        self._ids = self._identifiers()
        self._bodies = self._forms() | _json_bodies()
        self._standing = _standing()
        # One each: a new one looks for every static file first.
        self._browsers = {checks: Client(enforce_csrf_checks=checks) for checks in (False, True)}

    def _identifiers(self) -> dict[str, Any]:
        user = User.objects.get(username="account")
        request, run = self._rows["approvals/approvalrequest"], self._rows["agents/run"]
        return {
            "request_id": request.pk,
            "reference": request.pk,
            "delivery_id": self._rows["approvals/delivery"].pk,
            "run_id": run.pk,
            "workflow_id": run.pk,
            "execution_id": self._rows["agents/execution"].pk,
            "name": "volume",
            "id": user.pk,
            "uidb64": urlsafe_base64_encode(force_bytes(user.pk)),
            "token": default_token_generator.make_token(user),
            "content_type_id": ContentType.objects.get_for_model(User).pk,
            "app_label": "approvals",
            "rest": "nothing",
            "url": "nothing/",
        }

    def address(self, route: str) -> str:
        """The route with the ids of what is there."""
        model = "/".join(route.split("/")[2:4]) if route.startswith("/admin/") else ""
        here = self._rows.get(model)
        ids = {**self._ids, "object_id": self._ids["id"] if here is None else here.pk}
        return route.format(**ids)

    def ask(self, call: Call, who: str, *, checks_forms: bool = False) -> str:
        """What comes of the call, in the table's words; nothing of it stays."""
        client = self._browsers[checks_forms]
        client.cookies.clear()
        if who in self._sessions:
            client.cookies[settings.SESSION_COOKIE_NAME] = self._sessions[who]
        body = self._bodies.get((call.route, call.verb), {}) if call.method == "POST" else {}
        with transaction.atomic():
            response = self._send(client, call, body, who)
            changed = _standing() != self._standing
            transaction.set_rollback(True)
        return _word(response, changed=changed)

    def _send(self, client: Client, call: Call, body: Any, who: str) -> HttpResponseBase:
        address, headers = self.address(call.route), self._headers(who)
        if call.route in {"/resume", "/webhooks/linear"}:
            secret, mover = WEBHOOKS.get(who, ("", LINEAR_APPROVER))
            actor = {"id": mover, "type": "user", "name": mover}
            message = dumped(move_event(self._ids["request_id"], actor=actor))
            headers |= signed(message, secret) if secret else {}
            return client.generic(
                call.method, address, message, "application/json", headers=headers
            )
        if call.route.startswith("/api/"):
            sent = json.dumps(body)
            return client.generic(call.method, address, sent, "application/json", headers=headers)
        if call.method == "POST":
            return client.post(address, body, headers=headers)
        return client.generic(call.method, address, headers=headers)

    def _headers(self, who: str) -> dict[str, str]:
        if who in self._tokens:
            return {"Authorization": f"Bearer {self._tokens[who]}"}
        if who in WEBHOOKS:
            made = signed(b"", WEBHOOKS[who][0])
            return {name: made[name] for name in ("Linear-Delivery", "Linear-Signature")}
        return {}

    def _forms(self) -> dict[tuple[str, str], dict[str, object]]:
        """What the pages' forms send, by route and verb."""
        rows = self._rows
        request_id = str(rows["approvals/approvalrequest"].pk)
        account = User.objects.get(username="account")
        profile = {"approver_profile-TOTAL_FORMS": "0", "approver_profile-INITIAL_FORMS": "0"}
        joined = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
        known = {**profile, **joined, "username": "account", "is_active": "on"}
        rights = {"is_superuser": "on", "is_staff": "on", "groups": [_group("platform")]}
        password = {"old_password": PASSWORD, "new_password1": "another-9-words"}
        password["new_password2"] = password["new_password1"]
        page, run = "/approvals/{request_id}", "/runs/{run_id}"
        forms: dict[tuple[str, str], dict[str, object]] = {
            (f"{page}/approve/", ""): {"approve-words": "Fine."},
            (f"{page}/reject/", ""): {"reject-words": "Not today."},
            (f"{page}/cancel/", ""): {"cancel-words": "Not needed."},
            (f"{page}/deliveries/{{delivery_id}}/retry/", ""): {
                f"retry-{rows['approvals/delivery'].pk}-words": "Linear is back."
            },
            ("/batch/", ""): {"request": request_id, "choice": "approve", "words": "Fine."},
            ("/preferences/", ""): {"theme": "dark", "zone": "", "keys": "on"},
            ("/accounts/login/", ""): {"username": "account", "password": PASSWORD},
            ("/admin/login/", ""): {"username": "staff", "password": PASSWORD},
            ("/accounts/password_reset/", ""): {"email": "account@example.com"},
            ("/accounts/password_change/", ""): {**password},
            ("/admin/password_change/", ""): {**password},
            ("/admin/auth/user/add/", ""): {**profile, "username": "newcomer"},
            ("/admin/auth/user/{object_id}/change/", "rename"): {**known, "username": "renamed"},
            ("/admin/auth/user/{object_id}/change/", "rights"): {**known, **rights},
            ("/admin/auth/user/{object_id}/change/", "off"): {**known, "is_active": ""},
            ("/admin/auth/user/{id}/password/", ""): {**PASSWORDS},
            ("/admin/auth/group/add/", ""): {"name": "newcomers"},
            ("/admin/auth/group/{object_id}/change/", ""): {"name": "renamed"},
            ("/admin/approvals/approverprofile/add/", ""): {
                "user": account.pk,
                "linear_user_id": "linear-account",
            },
            ("/admin/approvals/approverprofile/{object_id}/change/", ""): {
                "linear_user_id": "linear-other"
            },
            ("/admin/approvals/apitoken/add/", ""): {"scope": "decide"},
        }
        for outcome in ("done", "retry", "abandon", "cancel"):
            forms[f"{run}/{outcome}/", ""] = {f"{outcome}-words": "It did happen."}
        for place, row in rows.items():
            ticked = {"_selected_action": str(row.pk), "confirmed": "1", "reason": "So it is."}
            for action in ACTIONS.get(place, ()):
                forms[f"/admin/{place}/", action] = {**ticked, "action": action}
            # What Django's own pages and actions would take, if they were open.
            removal = {"action": "delete_selected", "post": "yes"}
            forms[f"/admin/{place}/", REMOVAL] = {**ticked, **removal}
            forms[f"/admin/{place}/{{object_id}}/delete/", ""] = {"post": "yes"}
        return forms


def _actor(name: str) -> Actor:
    return user_actor(User.objects.get(username=name), Via.WEB)


def _group(name: str) -> int:
    return Group.objects.get(name=name).pk


def _session(name: str) -> str:
    client = Client()
    client.force_login(User.objects.get(username=name))
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def _tokens() -> dict[str, str]:
    """The text of each token, by the column it stands in."""
    made = {
        name: services.create_token(owner, scope=scope) for name, (owner, scope) in TOKENS.items()
    }
    revoked = services.create_token("approver", scope="decide")
    services.revoke_token(ApiToken.objects.latest("pk").pk, actor=_actor("approver"), reason="lost")
    former = services.create_token("former", scope="decide")
    User.objects.filter(username="former").update(is_active=False)
    dead = {"unknown": "no-such-token", "revoked": revoked, "switched-off": former}
    return {**made, **dead, "metrics": METRICS_TOKEN}


def _rows() -> dict[str, Any]:
    """One row of each model that the admin shows, by its place there."""
    request_id = opened(TERRAFORM, actor=_actor("asker"))
    decided = opened(TERRAFORM, thread_id="t-2")
    approve(decided, _actor("approver"))
    Delivery.objects.update(attempts=5, done=0, wanted=1, gave_up_at=clock())
    approver, asker = (User.objects.get(username=name) for name in ("approver", "asker"))
    profile, _ = ApproverProfile.objects.update_or_create(
        user=approver, defaults={"linear_user_id": LINEAR_APPROVER}
    )
    run = run_row(status="needs_attention", attention="Its worker died.", opened_by=asker)
    for name in ("sweeps", "runs", "channels"):
        services.beat_heart(name)
    return {
        "approvals/approvalrequest": ApprovalRequest.objects.get(pk=request_id),
        "approvals/auditentry": AuditEntry.objects.first(),
        "approvals/channelpause": ChannelPause.objects.create(channel="linear", until_at=clock()),
        "approvals/delivery": Delivery.objects.filter(request_id=request_id).first(),
        "approvals/heartbeat": Heartbeat.objects.first(),
        "approvals/inboundwebhook": webhook(1, request_id),
        "approvals/vote": Vote.objects.first(),
        "agents/execution": execution_row(run, status="unknown", output="Applied."),
        "agents/run": run,
        "approvals/apitoken": ApiToken.objects.get(user__username="account"),
        "approvals/approverprofile": profile,
        "auth/group": Group.objects.get(name="developers"),
        "auth/user": User.objects.get(username="account"),
    }


def _json_bodies() -> dict[tuple[str, str], dict[str, object]]:
    """What programs send, by route."""
    named = {"workflow_id": "wf-1", "thread_id": "th-1", "agent_name": "cicd"}
    deploy = {"operation": "deploy", "environment": "production"}
    reason: dict[str, object] = {"reason": "Not needed."}
    return {
        ("/api/approvals", ""): {**named, "task": TERRAFORM},
        ("/api/approvals/{reference}/reject", ""): reason,
        ("/api/approvals/{reference}/cancel", ""): reason,
        ("/api/workflows", ""): {"workflow": "task", "task": deploy},
        ("/api/workflows/{workflow_id}/cancel", ""): reason,
    }


def _standing() -> set[str]:
    """Every row that access is about, as text, in one query."""
    parts = [
        f"SELECT '{model._meta.db_table} ' || ROW({', '.join(columns)})::text FROM"  # noqa: S608
        f" {model._meta.db_table}"
        for model, columns in _STANDING
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            f"{' UNION ALL '.join(parts)} WHERE name NOT IN ('vote.refused', 'approver.saved')"
        )
        return {text for (text,) in cursor.fetchall()}


def _word(response: HttpResponseBase, *, changed: bool) -> str:
    status = response.status_code
    where = response.headers.get("Location", "")
    if changed:
        return "does" if status < 400 else f"does-{status}"
    if status == 302:
        return "login" if where.partition("?")[0] in _LOGINS else "led"
    return "ok" if status < 300 else str(status)
