"""Finding requests by the words in their task, their pull request and their identifiers."""

from collections.abc import Iterator
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.search import SearchQueryField, SearchVectorField
from django.db.models import BooleanField, Expression, F, Func, TextField, Value
from django.db.models.functions import Cast

from approvals.core.words import values, words
from approvals.masking import masked
from approvals.models import ApprovalRequest, RequestWords

MOST_ASKED = 12


def add(row: ApprovalRequest) -> None:
    """Let a new request be found, in the caller's transaction."""
    RequestWords.objects.create(request=row, lexemes=lexemes_of(row))


def add_words(request_id: UUID, text: str) -> None:
    """Let a request be found by the words of this text as well."""
    both = Func(F("lexemes"), _lexemes(words([text])), function="tsvector_concat")
    RequestWords.objects.filter(pk=request_id).update(lexemes=both)


def matching(text: str) -> Expression | None:
    """A condition on requests: each word of the text, or one that begins with it, is in them.

    What others follow without a space, as the letters of "CHEF-271", is a whole word. Of a longer
    text the first twelve different words count. None where there is no word in it.
    """
    asked = list(dict.fromkeys(word for part in text.split() for word in _parts(part)))[:MOST_ASKED]
    if not asked:
        return None
    lexemes = " & ".join(asked)
    asked_for = Cast(Value(lexemes, TextField()), SearchQueryField())
    return Func(
        F("words__lexemes"),
        asked_for,
        template="%(expressions)s",
        arg_joiner=" @@ ",
        output_field=BooleanField(),
    )


def _parts(text: str) -> Iterator[str]:
    # What most requests have, such as the letters of every issue, is much to read as a beginning
    # and next to nothing as a whole word beside one that is rare.
    *whole, last = words([text]) or [""]
    # Words are letters and digits, so quotes are enough; a parser would split them differently.
    yield from (f"'{word}'" for word in whole)
    if last:
        yield f"'{last}':*"


def lexemes_of(row: ApprovalRequest) -> Expression:
    """What a request is found by; a masked value finds nothing."""
    # What tells it from others comes first, in case the task has more words than are kept.
    facts = (row.pk, row.operation, row.environment, row.agent_name, row.requested_by)
    links = (row.workflow_id, row.github_repo, row.pr_number or "", row.pr_url)
    texts = [str(fact) for fact in (*facts, *links, row.linear_issue_id or "")]
    return _lexemes(words([*texts, *values(masked(row.task))]))


def _lexemes(found: list[str]) -> Expression:
    return Func(
        Value(found, ArrayField(TextField())),
        function="array_to_tsvector",
        output_field=SearchVectorField(),
    )
