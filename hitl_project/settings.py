"""Settings from the environment; what is missing or wrong stops the start with a sentence."""

import logging
import os
import re
import sys
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from approvals.core.queues import HINT_SECONDS, Queue
from hitl_project import credentials, provider

BASE_DIR = Path(__file__).resolve().parent.parent


def _required(name: str, purpose: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise ImproperlyConfigured(f"Set {name}: {purpose}.")
    return value


def _sent(name: str) -> str:
    """A secret that is sent in a header, if it is given."""
    value = os.environ.get(name, "").strip()
    credentials.check_header(name, value)
    return value


def _flag(name: str, *, default: bool) -> bool:
    value = os.environ.get(name, "").strip() or str(int(default))
    if value not in {"0", "1"}:
        raise ImproperlyConfigured(f"{name} must be 0 or 1, not {value!r}.")
    return value == "1"


def _names(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in os.environ.get(name, default).split(",") if part.strip()]


def _log_format(text: str) -> str:
    if text in {"json", "text"}:
        return text
    raise ImproperlyConfigured(f"HITL_LOG_FORMAT must be json or text, not {text!r}.")


def _names_collector(name: str) -> bool:
    url = os.environ.get(name, "").strip()
    if not url or (urlsplit(url).scheme in {"http", "https"} and urlsplit(url).hostname):
        return bool(url)
    # Not quoted, because it may hold a password.
    raise ImproperlyConfigured(f"{name} must be an http(s) address, such as http://collector:4318.")


def _retention_days(text: str) -> int:
    # What failed is retried for more than a day, and looked at after a weekend or a few days off.
    days = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else -1
    if days == 0 or 7 <= days <= 36_500:
        return days
    raise ImproperlyConfigured(
        f"HITL_RETENTION_DAYS must be 0, to keep everything, or from 7 to 36500, not {text!r}."
    )


def _number(name: str, *, default: int, least: int, most: int) -> int:
    text = os.environ.get(name, "").strip() or str(default)
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
    if least <= number <= most:
        return number
    raise ImproperlyConfigured(f"{name} must be from {least} to {most}, not {text!r}.")


def _given(name: str) -> list[str]:
    """What a variable lists; one that is set and lists nothing is no way to open what it closes."""
    values = _names(name)
    if not values and os.environ.get(name, "").strip():
        raise ImproperlyConfigured(f"{name} is set and names nothing: give it a value or unset it.")
    return values


def _webhook_secrets(text: str) -> list[str]:
    """The secrets whose signatures count, the current one first; none where nothing is set."""
    secrets = [part.strip() for part in text.split(",")] if text.strip() else []
    if len(secrets) > 2:
        raise ImproperlyConfigured(
            "LINEAR_WEBHOOK_SECRET takes at most two secrets, while rotating."
        )
    if any(len(secret) < 16 for secret in secrets):
        # One that is short could be guessed, and an empty one is a slip beside the comma.
        raise ImproperlyConfigured(
            "LINEAR_WEBHOOK_SECRET must hold the webhook's signing secret, of 16 characters at"
            " least, or two of them with one comma in between, the new one first."
        )
    return secrets


def _metrics_tokens(tokens: list[str]) -> list[str]:
    if len(tokens) > 2:
        raise ImproperlyConfigured("HITL_METRICS_TOKEN takes at most two tokens, while rotating.")
    for token in tokens:
        if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", token):
            raise ImproperlyConfigured(
                "HITL_METRICS_TOKEN may hold letters, digits and ._~+/- only, with = at the end."
            )
    return tokens


def _networks(name: str) -> list[IPv4Network | IPv6Network]:
    networks = []
    for text in _given(name):
        try:
            networks.append(ip_network(text))
        except ValueError as error:
            raise ImproperlyConfigured(
                f"{name} must hold networks such as 10.0.0.0/8, not {text!r}: {error}."
            ) from error
    return networks


# Whoever hangs in a transaction, or lost its machine, keeps locks from everybody else: the database
# ends it, and only afterwards those who wait give up, since by then somebody else has the lock.
_IN_TIME = {"idle_in_transaction_session_timeout": "60s", "lock_timeout": "90s"}
# What lists read is in memory, or on a disk without a head to move. With PostgreSQL's own 4 it
# reads and sorts everything that waits, although an index holds the page in order. And a page is
# mostly read before processes that help would have begun; one that takes long takes one core.
_PLANS = {"random_page_cost": "1.1", "max_parallel_workers_per_gather": "0"}


def _database(parts: dict[str, Any]) -> dict[str, object]:
    # Of a pool's few connections none may be taken away from everybody by a statement without end.
    asked_for = {**_PLANS, **_IN_TIME, **({"statement_timeout": "30s"} if DATABASE_POOL else {})}
    # What the address itself asks for comes last, and so counts.
    asked = [*(f"-c {name}={value}" for name, value in asked_for.items()), parts.pop("options", "")]
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname", ""),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        # A pool keeps connections by itself; anything else keeps its one, and looks before use.
        "CONN_MAX_AGE": 0 if DATABASE_POOL else None,
        "CONN_HEALTH_CHECKS": not DATABASE_POOL,
        # A database that is gone is an error soon, not a process that hangs.
        "OPTIONS": {
            "pool": DATABASE_POOL,
            "connect_timeout": 10,
            "options": " ".join(map(str, asked)).strip(),
            **parts,
        },
    }


SECRET_KEY = _required("SECRET_KEY", "a long random text that signs sessions and forms")
# While the key is rotated: what this one signed counts, too.
SECRET_KEY_FALLBACKS = list(filter(None, [os.environ.get("SECRET_KEY_FALLBACK", "").strip()]))
DATABASE_URL = _required(
    "DATABASE_URL", "the PostgreSQL database, postgresql://user:password@host/name"
)
REDIS_URL = _required("REDIS_URL", "the Redis that carries Celery's messages, redis://host:6379/0")
credentials.check_redis("REDIS_URL", REDIS_URL)

DEBUG = False
PUBLIC_URL = os.environ.get("HITL_PUBLIC_URL", "").rstrip("/") or (
    f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
)
_public = urlsplit(PUBLIC_URL)
if _public.scheme not in {"http", "https"} or not _public.hostname:
    raise ImproperlyConfigured(f"HITL_PUBLIC_URL must be an http(s) address, not {PUBLIC_URL!r}.")
ALLOWED_HOSTS = _names("ALLOWED_HOSTS") or [_public.hostname, "127.0.0.1", "localhost"]
CSRF_TRUSTED_ORIGINS = [f"{_public.scheme}://{_public.netloc}"]

# The product's own settings.
HITL_CONFIG_DIR = Path(os.environ.get("HITL_CONFIG_DIR") or BASE_DIR / "config")
HITL_DATA_DIR = Path(os.environ.get("HITL_DATA_DIR") or BASE_DIR / "var")
LINEAR_API_KEY = _sent("LINEAR_API_KEY")
LINEAR_API_URL = os.environ.get("LINEAR_API_URL") or "https://api.linear.app/graphql"
LINEAR_WEBHOOK_SECRETS = _webhook_secrets(os.environ.get("LINEAR_WEBHOOK_SECRET", ""))
if LINEAR_API_KEY and not LINEAR_WEBHOOK_SECRETS:
    raise ImproperlyConfigured(
        "Set LINEAR_WEBHOOK_SECRET: LINEAR_API_KEY is set, and without the webhook's signing"
        " secret no answer from Linear could be trusted."
    )
GITHUB_TOKEN = _sent("GITHUB_TOKEN")
GITHUB_API_URL = (os.environ.get("GITHUB_API_URL") or "https://api.github.com").rstrip("/")
GITHUB_API_VERSION = os.environ.get("GITHUB_API_VERSION") or "2026-03-10"
# Where a pull request's page may be: people follow that link, so an agent cannot choose its host.
PULL_REQUEST_HOSTS = {"github.com", urlsplit(GITHUB_API_URL).netloc.removeprefix("api.")}
GITHUB_REPOSITORIES = _names("HITL_GITHUB_REPOSITORIES")
# Where whatever is called over HTTP may be, and a proxy, beside the public Internet.
HITL_PRIVATE_NETWORKS = _networks("HITL_PRIVATE_NETWORKS")

# Dotted paths, so that `approvals` knows no channel and `agents` no executor by import. A run waits
# for what is decided, so its worker is woken first.
HITL_CHANNELS = [
    "integrations.workflow.WorkflowChannel",
    *(["integrations.linear.channel.LinearChannel"] if LINEAR_API_KEY else []),
    *(["integrations.github.channel.GitHubChannel"] if GITHUB_TOKEN else []),
]
HITL_EXECUTORS = {
    "command": "integrations.executors.run_command",
    "http": "integrations.executors.call_http",
    "github_workflow": "integrations.executors.dispatch_github_workflow",
}
# Name of a workflow -> (dotted path to a builder of an uncompiled graph, version of that graph); a
# third part maps earlier versions, kept for the runs that they began, to their builders.
HITL_GRAPHS: dict[str, tuple[str, str] | tuple[str, str, dict[str, str]]] = {}
# Requests, votes and audit entries are kept for ever; what these take is kept for so many days.
HITL_RETENTION_DAYS = _retention_days(os.environ.get("HITL_RETENTION_DAYS", "").strip() or "90")
HITL_PURGES = [
    "approvals.services.purge_webhook_bodies",
    "agents.retention.purge_runs",
    "agents.retention.purge_deliveries",
]

# Who may read /metrics: whoever has a token or comes from a network; with neither set, everybody.
HITL_METRICS_TOKENS = _metrics_tokens(_given("HITL_METRICS_TOKEN"))
HITL_METRICS_NETWORKS = _networks("HITL_METRICS_NETWORKS")

# Either is enough. The SDK reads both by itself, and so the other standard OTEL_ variables.
HITL_SENDS_TRACES = any(
    [
        _names_collector("OTEL_EXPORTER_OTLP_ENDPOINT"),
        _names_collector("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    ]
)
if HITL_SENDS_TRACES:
    for _name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        credentials.check_header_list(_name, os.environ.get(_name, ""))
# LangGraph's own tracing, which leaves by a way that judges no address and masks no value.
for _name in ("LANGSMITH", "LANGCHAIN"):
    for _traces in (f"{_name}_TRACING", f"{_name}_TRACING_V2"):
        if os.environ.get(_traces, "").strip().lower() == "true":
            raise ImproperlyConfigured(
                f"{_traces} would send every task, with its secrets, to LangSmith: unset it."
                " Traces go to a collector of yours where OTEL_EXPORTER_OTLP_ENDPOINT names one."
            )
# Its predecessor, for which LangChain now refuses to run any graph.
for _name in ("LANGCHAIN_TRACING", "LANGCHAIN_HANDLER"):
    if os.environ.get(_name, "") not in {"", "0", "false", "False"}:
        raise ImproperlyConfigured(
            f"{_name} is of a tracing that LangChain no longer has, and every run would fail with"
            " it: unset it."
        )

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "django_htmx",
    "django_prometheus",
    "ninja",
    "approvals",
    "agents",
    "integrations",
    "hitl_project",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    # Around what serves static files too, which would answer before them.
    "hitl_project.headers.permissions_policy",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "hitl_project.sessions.note_use",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "approvals.preferences.in_zone",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
    # Last, so that what it answers to too many logins counts in the metrics.
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "hitl_project.urls"
ASGI_APPLICATION = "hitl_project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "approvals.preferences.for_templates",
                "hitl_project.logins.for_templates",
            ],
        },
    },
]

# A pool opened before a fork is shared by the children, so only the web server asks for one.
DATABASE_POOL: bool | dict[str, int] = (
    {"min_size": 1, "max_size": 20, "timeout": 10}
    if _flag("HITL_DATABASE_POOL", default=False)
    else False
)
# Migrations run as the owner of the tables, and grant the application's role what it needs.
DATABASE_OWNER_URL = os.environ.get("DATABASE_OWNER_URL", "").strip()
_application = credentials.read_postgresql("DATABASE_URL", DATABASE_URL)
_owner = credentials.read_postgresql("DATABASE_OWNER_URL", DATABASE_OWNER_URL)
# What serves never does, though its environment, which may be everybody's, names the owner too: it
# could take the guards away.
if sys.argv[1:2] not in (["migrate"], ["create_dashboard_role"]):
    DATABASE_OWNER_URL, _owner = "", {}
DATABASES = {"default": _database(_owner or _application)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = ["hitl_project.formats"]

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# Served from where the packages keep them: there is nothing to collect before a start.
WHITENOISE_USE_FINDERS = True

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "queue"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
HITL_OIDC = provider.read(os.environ)
HITL_PASSWORD_LOGIN = _flag("HITL_PASSWORD_LOGIN", default=True)
if HITL_OIDC is None and not HITL_PASSWORD_LOGIN:
    raise ImproperlyConfigured(
        "HITL_PASSWORD_LOGIN is 0, and without HITL_OIDC_ISSUER nobody could log in."
    )
# The first refuses whoever has to wait; hitl_project.logins says who that is. What is not named
# ends the sessions that it began.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    *(["django.contrib.auth.backends.ModelBackend"] if HITL_PASSWORD_LOGIN else []),
    *(["hitl_project.single_sign_on.ProviderBackend"] if HITL_OIDC else []),
]
AXES_FAILURE_LIMIT = _number("HITL_LOGIN_FAILURES", default=5, least=3, most=100)
AXES_COOLOFF_TIME = timedelta(
    minutes=_number("HITL_LOGIN_LOCKOUT_MINUTES", default=5, least=1, most=60)
)
AXES_HANDLER = "hitl_project.logins.Lockouts"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"], "ip_address", "username"]
AXES_LOCKOUT_CALLABLE = "hitl_project.logins.locked_out"
AXES_CLIENT_IP_CALLABLE = "hitl_project.logins.client_address"
AXES_RESET_ON_SUCCESS = True
# Whoever goes on trying while they have to wait would otherwise never be let in again.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
# Who logged in when would be kept for ever, and forms with it; operators have a command instead.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
AXES_SENSITIVE_PARAMETERS = [
    *("username", "ip_address", "csrfmiddlewaretoken", "next"),
    *("old_password", "new_password1", "new_password2"),
]

# Served over https, cookies and redirects are strict; a plain http address is for one machine.
_https = _public.scheme == "https"
SESSION_ENGINE = "hitl_project.sessions"
SESSION_COOKIE_AGE = 3600 * _number("HITL_SESSION_HOURS", default=12, least=1, most=168)
SESSION_IDLE_SECONDS = 60 * _number("HITL_SESSION_IDLE_MINUTES", default=240, least=5, most=1440)
SESSION_COOKIE_SECURE = _https
CSRF_COOKIE_SECURE = _https
# Every form holds the token itself.
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_SSL_REDIRECT = _https
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = _https
SECURE_HSTS_PRELOAD = _https
SECURE_REFERRER_POLICY = "same-origin"
# Asked by machines next to this one; what Linear sends is signed.
SECURE_REDIRECT_EXEMPT = [
    r"^healthz$",
    r"^readyz$",
    r"^metrics$",
    r"^resume$",
    r"^webhooks/linear$",
]
if _flag("HITL_BEHIND_TLS_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# Uvicorn's own name for whose X-Forwarded-For it believes.
FORWARDED_ALLOW_IPS = os.environ.get("FORWARDED_ALLOW_IPS", "").strip() or "127.0.0.1"
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "approvals.views.access.form_too_old"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

# Celery carries hints; what is owed stands in PostgreSQL, so a publish may fail fast.
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
# Celery would close the database's connection around every task, and reconnecting costs more than
# most tasks; hitl_project.celery has Django look at it before each task instead.
CELERY_DB_REUSE_MAX = sys.maxsize // 2
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # More than the second that a worker waits for a message, less than whoever decides would.
    "socket_timeout": 2,
    "socket_connect_timeout": 1,
    "visibility_timeout": 3600,
    # Of a publisher; by default each message would be tried for six seconds.
    "max_retries": 0,
}
CELERY_TASK_DEFAULT_QUEUE = Queue.SWEEPS
CELERY_TASK_ROUTES = {
    "agents.tasks.*": {"queue": Queue.RUNS},
    "integrations.tasks.*": {"queue": Queue.CHANNELS},
}
_EXPIRES = {"expires": HINT_SECONDS}
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "approvals.tasks.sweep", "schedule": 5.0, "options": _EXPIRES},
    "reconcile-linear": {
        "task": "integrations.tasks.reconcile_linear",
        "schedule": 120.0,
        "options": _EXPIRES,
    },
    "roll-up-metrics": {
        "task": "approvals.tasks.roll_up_metrics",
        "schedule": 60.0,
        "options": _EXPIRES,
    },
    # Often, because an idle look costs nothing and a daily tick may fall into a restart.
    "purge-old": {
        "task": "approvals.tasks.purge_old",
        "schedule": 3600.0,
        "options": _EXPIRES,
    },
}


def _worth_a_line(record: logging.LogRecord) -> bool:
    """Not a "not ready yet": whoever asks is told why, and asks every few seconds."""
    request = getattr(record, "request", None)
    return not (getattr(record, "status_code", 0) == 503 and request and request.path == "/readyz")


_LINES = {"json": "hitl_project.logs.JsonLines", "text": "hitl_project.logs.TextLines"}
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "worth_a_line": {"()": "django.utils.log.CallbackFilter", "callback": _worth_a_line}
    },
    "formatters": {
        "line": {"()": _LINES[_log_format(os.environ.get("HITL_LOG_FORMAT", "").strip() or "json")]}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    # One line a call, or two a hint, would bury the rest; failures are logged all the same.
    "loggers": {
        "httpx": {"level": "WARNING"},
        # Warns of every failed login; hitl_project.logins does of those that lock.
        "axes": {"level": "ERROR"},
        # Tells at DEBUG what a login is proven by.
        "authlib": {"level": "INFO"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "django.request": {"filters": ["worth_a_line"]},
    },
    "root": {"handlers": ["console"], "level": os.environ.get("HITL_LOG_LEVEL", "INFO")},
}
