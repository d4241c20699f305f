"""Serves the provider: `python -m tests.openid_provider PORT`."""

import sys
import tempfile
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings


class Quiet(WSGIRequestHandler):
    """Says nothing of each call."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def configure(port: int, folder: Path) -> None:
    """Make a Django project of the provider alone."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    apps = ["contenttypes", "auth", "sessions"]
    settings.configure(
        SECRET_KEY="a secret of the provider's",
        ALLOWED_HOSTS=["127.0.0.1"],
        USE_TZ=True,
        INSTALLED_APPS=[*(f"django.contrib.{app}" for app in apps), "oauth2_provider"],
        # Tables are made from the models as they are: what led there takes seconds.
        MIGRATION_MODULES=dict.fromkeys([*apps, "oauth2_provider"]),
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": folder / "provider.sqlite3",
                # Nobody needs it after a crash.
                "OPTIONS": {"init_command": "PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY"},
                "CONN_MAX_AGE": None,
            }
        },
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        TEMPLATES=[
            {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
        ],
        LOGIN_URL="/login/",
        # A browser tells no ports of one machine apart.
        SESSION_COOKIE_NAME="provider",
        ROOT_URLCONF="tests.openid_provider.urls",
        OAUTH2_PROVIDER={
            "OIDC_ENABLED": True,
            "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
            "OIDC_ISS_ENDPOINT": f"http://127.0.0.1:{port}/o",
            "OIDC_RSA_PRIVATE_KEY": key.decode(),
            "OAUTH2_VALIDATOR_CLASS": "tests.openid_provider.urls.Claims",
            "SCOPES": {name: name for name in ("openid", "profile", "email")},
            "PKCE_REQUIRED": True,
        },
    )
    django.setup()


def main(port: int) -> None:
    """Serve until the process is ended."""
    with tempfile.TemporaryDirectory() as folder:
        configure(port, Path(folder))
        from django.core.management import call_command  # noqa: PLC0415 - needs the settings
        from django.core.wsgi import get_wsgi_application  # noqa: PLC0415 - needs the settings

        call_command("migrate", run_syncdb=True, verbosity=0)
        application = get_wsgi_application()
        with make_server("127.0.0.1", port, application, handler_class=Quiet) as server:
            server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
