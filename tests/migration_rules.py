"""What a migration may do to a table that is in use: nothing that keeps others waiting for long."""

import re
from collections.abc import Iterator, Sequence

_COMMENT = re.compile(r"^--.*$", re.MULTILINE)
_BODY = re.compile(r"\$(\w*)\$.*?\$\1\$", re.DOTALL)
_CREATED = re.compile(r'CREATE TABLE (?:IF NOT EXISTS )?"?(\w+)"?', re.IGNORECASE)
_INDEX = re.compile(r'CREATE (?:UNIQUE )?INDEX\b.*? ON (?:ONLY )?"?(\w+)"?', re.IGNORECASE)
_ALTERED = re.compile(r'ALTER TABLE (?:IF EXISTS )?(?:ONLY )?"?(\w+)"?', re.IGNORECASE)
_TRIGGER = re.compile(r'(?:CREATE|DROP) TRIGGER\b.*? ON "?(\w+)"?', re.IGNORECASE)
# The value of a default that is the same for every row is kept once; any other is written to each.
_CALLED = re.compile(r"\bDEFAULT \(*[\w.]+ *\(", re.IGNORECASE)
_CHANGES = (
    (r"\bALTER COLUMN \S+ (SET DATA )?TYPE\b", "a column's type changes: the table is rewritten"),
    (r"\bALTER COLUMN \S+ SET NOT NULL\b", "SET NOT NULL reads the whole table under a lock"),
    (r"\bADD COLUMN\b.*\b(GENERATED|SERIAL|BIGSERIAL)\b", "a computed column rewrites the table"),
    (r"\bADD COLUMN\b.*\bREFERENCES\b", "a foreign key is checked while both tables are locked"),
)


def faults(statements: Sequence[str], *, atomic: bool) -> list[str]:
    """What in these statements of one migration makes others wait, each as a sentence's beginning.

    Tables that the migration itself creates are nobody's yet, and may be treated in any way.
    """
    told = [text for statement in statements for text in _split(statement)]
    new = {found[1] for text in told if (found := _CREATED.match(text))}
    wary = validating = changed = False
    found_faults = []
    for text in told:
        table = _table(text)
        wary = wary or "LOCK_TIMEOUT" in text.upper()
        if table in new:
            continue
        found_faults += [f"{fault}: {text}" for fault in _faults_of(text)]
        validates = "VALIDATE CONSTRAINT" in text.upper()
        validating = validating or validates
        locks = bool(_ALTERED.match(text) or _TRIGGER.match(text)) and not validates
        changed = changed or locks
        if locks and atomic and not wary:
            found_faults.append(f"no lock_timeout is set before: {text}")
    if atomic and validating and changed:
        found_faults.append("a constraint is validated in the transaction of another change")
    return found_faults


def _split(statement: str) -> Iterator[str]:
    plain = _BODY.sub("''", _COMMENT.sub("", statement))
    for text in plain.split(";"):
        if words := " ".join(text.split()):
            yield words


def _table(text: str) -> str:
    found = _INDEX.match(text) or _ALTERED.match(text) or _TRIGGER.match(text)
    return found[1] if found else ""


def _faults_of(text: str) -> Iterator[str]:
    large = text.upper()
    if re.match(r"(CREATE (UNIQUE )?|DROP |RE)INDEX\b(?! CONCURRENTLY)", large):
        yield "an index without CONCURRENTLY stops every write"
    if re.match(r"(UPDATE|DELETE FROM)\b", large):
        yield "rows are changed in one go rather than in steps"
    if not _ALTERED.match(text):
        return
    if (
        re.search(r"\bADD CONSTRAINT\b.*\b(CHECK|FOREIGN KEY)\b", large)
        and "NOT VALID" not in large
    ):
        yield "a constraint without NOT VALID reads the whole table under a lock"
    if re.search(r"\bADD CONSTRAINT\b.*\b(UNIQUE|PRIMARY KEY|EXCLUDE)\b", large) and (
        "USING INDEX" not in large
    ):
        yield "a unique constraint builds its index under a lock"
    if _CALLED.search(text):
        yield "a default that is a function is written to every row"
    for pattern, fault in _CHANGES:
        if re.search(pattern, large):
            yield fault
