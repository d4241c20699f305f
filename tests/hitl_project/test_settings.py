"""What the environment must say, told by starting a process with it."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from hitl_project import provider
from tests import warm

ROOT = Path(__file__).resolve().parent.parent.parent
COMPLETE = {
    "SECRET_KEY": "a-long-random-text-that-nobody-else-has-0123456789-abcdefgh",
    "DATABASE_URL": "postgresql://hitl_app:secret@db.example.com/hitl",
    "REDIS_URL": "redis://redis.example.com:6379/0",
    "HITL_PUBLIC_URL": "https://approvals.example.com",
    "HITL_BEHIND_TLS_PROXY": "1",
}


def manage(*arguments: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    """Run a command with nothing but the documented environment, changed; empty removes."""
    environment = {"PATH": os.environ["PATH"], **COMPLETE, **changes}
    given = {name: value for name, value in environment.items() if value}
    return warm.run([str(ROOT / "manage.py"), *arguments], given, "", 60)


def complaint(**changes: str) -> str:
    """What `check` says of an environment that it must refuse."""
    stopped = manage("check", **changes)
    assert stopped.returncode != 0
    return stopped.stderr


def test_the_documented_production_settings_pass_djangos_deployment_check() -> None:
    checked = manage("check", "--deploy", "--fail-level", "WARNING")
    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL", "REDIS_URL"])
@pytest.mark.parametrize("command", ["web", "worker", "beat"])
def test_a_missing_secret_stops_the_boot_with_a_sentence_naming_it(name: str, command: str) -> None:
    stopped = manage(command, **{name: ""})
    assert stopped.returncode != 0
    assert f"Set {name}: " in stopped.stderr
    assert "Traceback" not in stopped.stderr


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"LINEAR_API_KEY": "lin_api_x"}, "Set LINEAR_WEBHOOK_SECRET"),
        ({"LINEAR_WEBHOOK_SECRET": "a,b,c"}, "at most two secrets"),
        ({"LINEAR_WEBHOOK_SECRET": f"{'x' * 40},"}, "must hold the webhook's signing secret"),
        ({"LINEAR_WEBHOOK_SECRET": f",{'x' * 40}"}, "must hold the webhook's signing secret"),
        ({"LINEAR_WEBHOOK_SECRET": "x" * 15}, "of 16 characters at least"),
        ({"HITL_PUBLIC_URL": "approvals.example.com"}, "must be an http(s) address"),
        ({"HITL_BEHIND_TLS_PROXY": "yes"}, "HITL_BEHIND_TLS_PROXY must be 0 or 1"),
        (
            {"HITL_PRIVATE_NETWORKS": "10.0.0.0/8,intranet"},
            "HITL_PRIVATE_NETWORKS must hold networks",
        ),
        ({"HITL_PRIVATE_NETWORKS": "10.0.0.5/8"}, "host bits set"),
        ({"HITL_PRIVATE_NETWORKS": ","}, "HITL_PRIVATE_NETWORKS is set and names nothing"),
        ({"HITL_OIDC_CLIENT_ID": "gateway"}, "Set HITL_OIDC_ISSUER and HITL_OIDC_CLIENT_SECRET"),
        ({"HITL_PASSWORD_LOGIN": "0"}, "nobody could log in"),
        ({"HITL_CONFIG_DIR": "/nowhere"}, "risk-assessment-rules.yaml: cannot be read"),
        ({"LANGSMITH_TRACING": "true"}, "LANGSMITH_TRACING would send every task"),
        ({"LANGCHAIN_TRACING_V2": "true"}, "LANGCHAIN_TRACING_V2 would send every task"),
        ({"LANGCHAIN_TRACING": "1"}, "LANGCHAIN_TRACING is of a tracing that LangChain no longer"),
        ({"LANGCHAIN_HANDLER": "langchain"}, "every run would fail with it: unset it"),
    ],
)
def test_a_wrong_setting_stops_the_boot_with_a_sentence(
    changes: dict[str, str], sentence: str
) -> None:
    said = complaint(**changes)
    assert sentence in said
    assert "Traceback" not in said


POSTGRES, REDIS = "postgresql://hitl:{}@db.example.com/hitl", "redis://:{}@redis.example.com:6379/0"


@pytest.mark.parametrize(
    ("name", "address", "password"),
    [
        ("DATABASE_URL", POSTGRES, "s3cr%et-pass"),
        ("DATABASE_URL", POSTGRES, "s3cr/et-pass"),
        ("DATABASE_URL", POSTGRES, "s3cr@et-pass"),
        ("DATABASE_URL", POSTGRES, "s3cr%FCet-pass"),
        ("DATABASE_OWNER_URL", POSTGRES, "s3cr%et-pass"),
        ("REDIS_URL", REDIS, "s3cr/et-pass"),
        ("REDIS_URL", REDIS, "1/et-pass"),
        ("REDIS_URL", REDIS, "s3cr[et-pass"),
    ],
)
def test_a_password_that_tears_its_address_apart_stops_the_boot_and_is_not_told(
    name: str, address: str, password: str
) -> None:
    said = complaint(**{name: address.format(password)})
    assert said.startswith(f"Error: {name} cannot be read as ")
    assert "%25 for %" in said
    assert [part for part in ("s3cr", "et-pass") if part in said] == []


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("DATABASE_URL", "postgresql://hitl:s3cr%25%2F%40@one:5432,two:5433/hitl"),
        ("DATABASE_URL", "postgresql://hitl:s3cret@/hitl?host=%2Fsrv%2Fada%40work%2Fsocket"),
        ("DATABASE_URL", "host=@abstract,/run/postgresql dbname=hitl password='%/@'"),
        ("REDIS_URL", "rediss://:s3cr%25%2F%40@redis.example.com"),
    ],
)
def test_an_address_may_have_any_form_that_is_read_as_it_is_meant(name: str, address: str) -> None:
    checked = manage("check", **{name: address})
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LINEAR_API_KEY", "lin_api_s3cr\net"),
        ("GITHUB_TOKEN", "ghp_s3cr\x7fet"),
        ("GITHUB_TOKEN", "ghp_s3cr\N{LATIN SMALL LETTER E WITH ACUTE}et"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Bearer s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cr;et"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x=y,api-key=s3cr%0Aet"),
    ],
)
def test_a_secret_that_no_header_can_hold_stops_the_boot_and_is_not_told(
    name: str, value: str
) -> None:
    """Whoever sends it would quote it in an error, and that in a log or on a page."""
    said = complaint(
        LINEAR_WEBHOOK_SECRET="x" * 40,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector",
        **{name: value},
    )
    assert said.startswith(f"Error: {name} must ")
    assert "s3cr" not in said


def test_headers_for_a_collector_may_hold_whatever_one_can_send() -> None:
    checked = manage(
        "check",
        OTEL_EXPORTER_OTLP_ENDPOINT="https://collector.example.com",
        OTEL_EXPORTER_OTLP_HEADERS="Authorization=Basic dTpw==, x-scope = a%2Cb,",
    )
    assert checked.returncode == 0, checked.stderr


def test_no_password_is_told_of_a_collectors_address() -> None:
    said = complaint(OTEL_EXPORTER_OTLP_ENDPOINT="gateway:s3cret@collector:4318")
    assert said.startswith("Error: OTEL_EXPORTER_OTLP_ENDPOINT must be an http(s) address")
    assert "s3cret" not in said


@pytest.mark.parametrize(
    "name", ["hitl/operations.yaml", "hitl/approval-policies.yaml", "linear/linear-config.yaml"]
)
def test_a_file_that_does_not_fit_stops_the_boot_with_a_sentence(name: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    file = tmp_path / "config" / name
    file.write_text(f"unheard_of: 1\n{file.read_text()}")
    said = complaint(HITL_CONFIG_DIR=str(tmp_path / "config"))
    assert said == f"Error: {file}:1: unheard_of: Extra inputs are not permitted\n"


@pytest.mark.parametrize(
    ("program", "role"),
    [
        ("manage.py migrate --no-input", "hitl_owner"),
        ("manage.py create_dashboard_role grafana", "hitl_owner"),
        ("manage.py web", "hitl_app"),
        ("manage.py worker --queues runs", "hitl_app"),
        ("manage.py beat", "hitl_app"),
        ("manage.py shell", "hitl_app"),
        ("manage.py", "hitl_app"),
        ("uvicorn hitl_project.asgi:application", "hitl_app"),
        ("celery --app hitl_project worker", "hitl_app"),
    ],
)
def test_only_what_changes_the_schema_connects_as_its_owner(
    monkeypatch: pytest.MonkeyPatch, program: str, role: str
) -> None:
    """One file of variables may be everybody's."""
    owner = "postgresql://hitl_owner:secret@db.example.com/hitl"
    for name, value in {**COMPLETE, "DATABASE_OWNER_URL": owner}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", program.split())
    found = runpy.run_path(str(ROOT / "hitl_project" / "settings.py"))
    assert found["DATABASES"]["default"]["USER"] == role
    assert bool(found["DATABASE_OWNER_URL"]) == (role == "hitl_owner")


def test_help_needs_no_settings() -> None:
    told = manage("help", **dict.fromkeys(COMPLETE, ""))
    assert told.returncode == 0, told.stderr


OIDC = {
    "HITL_OIDC_ISSUER": "https://id.example.com/realms/acme",
    "HITL_OIDC_CLIENT_ID": "gateway",
    "HITL_OIDC_CLIENT_SECRET": "what both know",
}


def test_three_variables_are_a_provider_and_none_is_none() -> None:
    found = provider.read(OIDC)
    assert found is not None
    assert (found.name, found.scopes, found.algorithm) == (
        "id.example.com",
        "openid profile email",
        "RS256",
    )
    assert (found.groups, found.governed) == ((), frozenset())
    assert "what both know" not in repr(found)
    assert provider.read(dict.fromkeys(OIDC, " ")) is None


def test_a_group_of_the_provider_may_have_a_name_of_any_form() -> None:
    mapping = "/sre=platform; cn=releases,ou=groups=release-managers;"
    found = provider.read({**OIDC, "HITL_OIDC_GROUPS": mapping})
    assert found is not None
    assert found.groups == (
        ("/sre", "platform"),
        ("cn=releases,ou=groups", "release-managers"),
    )


@pytest.mark.parametrize("name", OIDC)
def test_half_a_provider_is_refused(name: str) -> None:
    rest = {known: value for known, value in OIDC.items() if known != name}
    with pytest.raises(ImproperlyConfigured, match=f"Set {name}: "):
        provider.read(rest)
    with pytest.raises(ImproperlyConfigured, match="HITL_OIDC_NAME is set"):
        provider.read({"HITL_OIDC_NAME": "Example"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HITL_OIDC_ISSUER", "http://id.example.com"),
        ("HITL_OIDC_ISSUER", "id.example.com"),
        ("HITL_OIDC_ISSUER", "https://"),
        ("HITL_OIDC_ISSUER", "https://[id"),
        ("HITL_OIDC_ISSUER", "https://id.example.com/?tenant=x"),
        ("HITL_OIDC_SCOPES", "profile email"),
        ("HITL_OIDC_SCOPES", 'openid "x"'),
        ("HITL_OIDC_ALGORITHM", "HS256"),
        ("HITL_OIDC_ALGORITHM", "none"),
        ("HITL_OIDC_GROUPS", "sre"),
        ("HITL_OIDC_GROUPS", "sre="),
        ("HITL_OIDC_GROUPS", "=platform"),
        ("HITL_OIDC_GROUPS", "sre=platform; sre=operators"),
    ],
)
def test_what_cannot_be_trusted_of_a_provider_is_refused(name: str, value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"{name} must"):
        provider.read({**OIDC, name: value})
