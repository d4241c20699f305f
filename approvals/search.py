"""Finding requests by the words in their task, their pull request and their identifiers."""

from collections.abc import Iterator
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.search import SearchQueryField, SearchVectorField
from django.db import connection
from django.db.models import BooleanField, Expression, F, Func, TextField, Value
from django.db.models.functions import Cast

from approvals.core.words import values, words
from approvals.masking import masked
from approvals.models import ApprovalRequest, RequestWords

MOST_ASKED = 12
# What so many of the latest requests have is found among them soon enough.
LATEST, OFTEN = 200, 10
# So many requests are named rather than searched for.
FEW = 2_000

_WORDS = RequestWords._meta.db_table
# What is found is materialized, so that it is planned for all of it, by the index of the words, and
# not for the few that are taken of it; it is looked for only where the latest have not told enough.
_NAMED = f"""
WITH found AS MATERIALIZED (SELECT request_id FROM {_WORDS} WHERE lexemes @@ %(asked)s::tsquery)
SELECT CASE WHEN count(*) FILTER (WHERE lexemes @@ %(asked)s::tsquery) < %(often)s
            THEN ARRAY(SELECT request_id FROM found LIMIT %(most)s) END
FROM (
    SELECT lexemes FROM {ApprovalRequest._meta.db_table} AS request
    JOIN {_WORDS} AS words ON words.request_id = request.id
    ORDER BY request.created_at DESC, request.id DESC
    LIMIT %(latest)s
) AS latest
"""  # noqa: S608 - our own tables' names


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
    asked = _asked(text)
    if not asked:
        return None
    return Func(
        F("words__lexemes"),
        Cast(Value(asked, TextField()), SearchQueryField()),
        template="%(expressions)s",
        arg_joiner=" @@ ",
        output_field=BooleanField(),
    )


def named(text: str) -> list[UUID] | None:
    """The requests that `matching` is true of, or None where they are many or no word is asked for.

    A planner takes any beginning of a word for one that many requests have. Of a rare one it would
    look for the latest through all requests there are, one after the other.
    """
    if not (asked := _asked(text)):
        return None
    given: dict[str, str | int] = {
        "asked": asked,
        "latest": LATEST,
        "often": OFTEN,
        "most": FEW + 1,
    }
    with connection.cursor() as cursor:
        cursor.execute(_NAMED, given)
        ((found,),) = cursor.fetchall()
    return None if found is None or len(found) > FEW else list(found)


def _asked(text: str) -> str:
    """What is asked for as PostgreSQL writes it, or nothing."""
    parts = [word for part in text.split() for word in _parts(part)]
    return " & ".join(list(dict.fromkeys(parts))[:MOST_ASKED])


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
