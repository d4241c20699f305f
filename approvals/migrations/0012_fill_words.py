"""Requests of before the search get the words they are found by.

It goes by the id, a thousand at a time, each in a transaction of its own: what was interrupted goes
on where it stopped, and once more changes nothing. The rule is the one of the day on which it was
written, so that it needs no column that comes later; which keys are secret says the configuration.
"""

import re
import unicodedata
from fnmatch import fnmatchcase

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.search import SearchVectorField
from django.db import migrations
from django.db.models import Func, TextField, Value

STEP = 1_000
MOST_WORDS = 1_000
LONGEST_WORD = 64
WORD = re.compile(r"[^\W_]+")
SEPARATORS = re.compile(r"[-_.\s]")


def fill(apps, schema_editor):
    from approvals.policy import masked_keys

    patterns = [bare(pattern) for pattern in masked_keys()]
    database = schema_editor.connection.alias
    requests = apps.get_model("approvals", "ApprovalRequest").objects.using(database)
    words = apps.get_model("approvals", "RequestWords")
    without = requests.filter(words=None).order_by("pk")
    rows = list(without[:STEP])
    while rows:
        words.objects.using(database).bulk_create(
            [words(request=row, lexemes=lexemes(row, patterns)) for row in rows],
            # Whoever opened a request meanwhile, or fills at the same time, has said the same.
            ignore_conflicts=True,
        )
        rows = list(without.filter(pk__gt=rows[-1].pk)[:STEP])


def lexemes(row, patterns):
    facts = (row.pk, row.operation, row.environment, row.agent_name, row.requested_by)
    links = (row.workflow_id, row.github_repo, row.pr_number or "", row.pr_url)
    texts = [str(fact) for fact in (*facts, *links, row.linear_issue_id or "")]
    return Func(
        Value(words_of([*texts, *values(row.task, patterns)]), ArrayField(TextField())),
        function="array_to_tsvector",
        output_field=SearchVectorField(),
    )


def words_of(texts):
    found = {}
    for text in texts:
        for match in WORD.finditer(unicodedata.normalize("NFKC", text).casefold()):
            found[match[0][:LONGEST_WORD]] = None
            if len(found) == MOST_WORDS:
                return list(found)
    return list(found)


def values(thing, patterns):
    if isinstance(thing, dict):
        for key, value in thing.items():
            if not any(fnmatchcase(bare(key), pattern) for pattern in patterns):
                yield from values(value, patterns)
    elif isinstance(thing, list):
        for value in thing:
            yield from values(value, patterns)
    elif isinstance(thing, str):
        yield thing
    elif isinstance(thing, (int, float)) and not isinstance(thing, bool):
        yield str(thing)


def bare(text):
    return SEPARATORS.sub("", text.casefold())


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("approvals", "0011_votes_by_time")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
