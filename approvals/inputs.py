"""What the verbs take: a value that does not fit is refused before anything is looked at."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from approvals.core import intake
from approvals.errors import InvalidInput

_LONGEST = {"pr_url": 500}


def must_be_words(field: str, text: str, *, required: bool = False) -> None:
    """Take what a person says, such as a reason or a comment; InvalidInput where it does not fit.

    An empty one says nothing, which is refused where it is `required`.
    """
    if required and not text.strip():
        raise InvalidInput(field, f"Give a {field} of at most {intake.MAX_WORDS} characters.")
    if (fault := intake.text_fault(text, intake.MAX_WORDS)) is not None:
        raise InvalidInput(field, f"The {field} {fault}.")


def must_be_texts(texts: Mapping[str, Any]) -> None:
    """Take short texts, by the names of their fields; InvalidInput for the first that is none."""
    for field, text in texts.items():
        if not isinstance(text, str):
            raise InvalidInput(field, f"{field} must be a text.")
        if (fault := intake.text_fault(text, _LONGEST.get(field, 200))) is not None:
            raise InvalidInput(field, f"{field} {fault}.")


def must_be_one_pull_request(number: int | None, url: str, repository: str) -> None:
    """Take what names a pull request, or nothing; InvalidInput where it does not fit together."""
    found = intake.pull_request_fault(number, url, repository, settings.PULL_REQUEST_HOSTS)
    if found is not None:
        field, fault = found
        raise InvalidInput(field, f"{field} {fault}.")
