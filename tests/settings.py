"""The product's settings for tests: passwords are hashed quickly, because many people log in."""

from hitl_project.settings import *  # noqa: F403

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    # What the product uses.
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
