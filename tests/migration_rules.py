"""What a migration may do to tables in use: nothing that others wait for, or that they trip over.

Others are the release before, whose web servers and workers go on while the new one migrates.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

_COMMENT = re.compile(r"^--.*$", re.MULTILINE)
_BODY = re.compile(r"\$(\w*)\$.*?\$\1\$", re.DOTALL)
# What a block does is done at once, unlike what a function's body says.
_BLOCK = re.compile(r"\bDO\b[^$;]*\$(\w*)\$(.*?)\$\1\$", re.DOTALL | re.IGNORECASE)
# After each of these, a statement of a block begins.
_BEFORE = re.compile(r"\b(?:BEGIN|THEN|ELSE|LOOP|EXECUTE\s*(?:format\s*\()?\s*')", re.IGNORECASE)
# A query may come first; that it locks rows changes none.
_WITH = r"(?:WITH\b.*?(?<!\bFOR )(?<!\bKEY )\b)?"
_CREATED = re.compile(r'CREATE TABLE (?:IF NOT EXISTS )?"?(\w+)"?', re.IGNORECASE)
_INDEX = re.compile(r'CREATE (?:UNIQUE )?INDEX\b.*? ON (?:ONLY )?"?(\w+)"?', re.IGNORECASE)
_ALTERED = re.compile(r'ALTER TABLE (?:IF EXISTS )?(?:ONLY )?"?(\w+)"?', re.IGNORECASE)
_TRIGGER = re.compile(r'(?:CREATE|DROP) TRIGGER\b.*? ON "?(\w+)"?', re.IGNORECASE)
_INSERTED = re.compile(_WITH + r'INSERT INTO "?(\w+)"? .*\bSELECT\b', re.IGNORECASE)
_CHANGED = re.compile(_WITH + r"(?:UPDATE|DELETE FROM|MERGE INTO)\b", re.IGNORECASE)
_DROPPED = re.compile(r'DROP (TABLE|VIEW) (?:IF EXISTS )?"?(\w+)"?', re.IGNORECASE)
_GONE = re.compile(r'\bDROP COLUMN (?:IF EXISTS )?"?(\w+)"?', re.IGNORECASE)
_ADDED = re.compile(r'\bADD COLUMN (?:IF NOT EXISTS )?"?(\w+)"?(.*)', re.IGNORECASE)
_TIMEOUT = re.compile(r"(RESET|SET)( LOCAL)? LOCK_TIMEOUT(?: (?:=|TO) '?(\w+))?")
# The value of a default that is the same for every row is kept once; any other is written to each.
_CALLED = re.compile(r"\bDEFAULT \(*[\w.]+ *\(", re.IGNORECASE)
_CHANGES = (
    (r"\bALTER COLUMN \S+ (SET DATA )?TYPE\b", "a column's type changes: the table is rewritten"),
    (r"\bALTER COLUMN \S+ SET NOT NULL\b", "SET NOT NULL reads the whole table under a lock"),
    (r"\bADD COLUMN\b.*\b(GENERATED|SERIAL|BIGSERIAL)\b", "a computed column rewrites the table"),
    (r"\bADD COLUMN\b.*\bREFERENCES\b", "a foreign key is checked while both tables are locked"),
    (r"\bADD COLUMN\b.*\bUNIQUE\b", "a unique column builds its index under a lock"),
    (r"\bRENAME\b", "what is renamed is gone for the release before"),
    (r"\bDROP DEFAULT\b", "the release before writes no value, and the default goes"),
    (r"\bSET (LOGGED|UNLOGGED|TABLESPACE|ACCESS METHOD)\b", "the table is rewritten"),
)


def faults(
    statements: Sequence[str],
    *,
    atomic: bool,
    used: Mapping[str, Collection[str]] | None = None,
    has_code: bool = False,
) -> list[str]:
    """What in these statements of one migration harms others, each as a sentence's beginning.

    Tables that the migration itself creates are nobody's yet, and may be treated in any way. `used`
    are the columns that the models have before it, by table: what they lack may be dropped.
    `has_code` says that it also runs Python, whose statements cannot be seen.
    """
    used = used or {}
    told = [text for statement in statements for text in _split(statement)]
    new = {found[1] for text in told if (found := _CREATED.match(text))}
    wary = validating = changed = False
    found_faults = []
    if has_code and atomic:
        found_faults.append("code changes rows in one transaction, rather than in steps of its own")
    for text in told:
        table = _table(text)
        if timeout := _TIMEOUT.match(text.upper()):
            verb, local, value = timeout.groups()
            # Outside of a transaction, what is set for one holds for nothing.
            wary = verb == "SET" and value != "0" and (atomic or not local)
        if table in new:
            continue
        found_faults += [f"{fault}: {text}" for fault in _faults_of(text)]
        if (copied := _INSERTED.match(text)) and copied[1] not in new:
            found_faults.append(f"rows are added in one go rather than in steps: {text}")
        found_faults += [f"{fault}: {text}" for fault in _taken(text, table, used)]
        validates = "VALIDATE CONSTRAINT" in text.upper()
        validating = validating or validates
        locks = bool(_ALTERED.match(text) or _TRIGGER.match(text)) and not validates
        changed = changed or locks
        if locks and not wary:
            found_faults.append(f"no lock_timeout is set before: {text}")
    if atomic and validating and changed:
        found_faults.append("a constraint is validated in the transaction of another change")
    return found_faults


def _split(statement: str) -> Iterator[str]:
    opened = _BLOCK.sub(_opened, _COMMENT.sub("", statement))
    plain = _BODY.sub("''", opened)
    for text in plain.split(";"):
        if words := " ".join(text.split()):
            yield words


def _opened(block: re.Match[str]) -> str:
    """A block with its statements apart."""
    return _BEFORE.sub(";", block[2])


def _table(text: str) -> str:
    found = _INDEX.match(text) or _ALTERED.match(text) or _TRIGGER.match(text)
    return found[1] if found else ""


def _taken(text: str, table: str, used: Mapping[str, Collection[str]]) -> Iterator[str]:
    """What the release before still reads or writes, and would no longer find."""
    dropped = _DROPPED.match(text)
    if dropped and (dropped[2] in used or dropped[1].upper() == "VIEW"):
        yield "the release before still uses it"
    if table not in used:
        return
    gone = set(_GONE.findall(text)) & set(used[table])
    if gone:
        yield "the release before still uses the column"
    for _, rest in _ADDED.findall(text):
        if "NOT NULL" in rest.upper() and not re.search(r"\b(DEFAULT|GENERATED)\b", rest.upper()):
            yield "the release before writes no value into the new column"


def _faults_of(text: str) -> Iterator[str]:
    large = text.upper()
    if re.match(r"(CREATE (UNIQUE )?|DROP |RE)INDEX\b(?! CONCURRENTLY)", large):
        yield "an index without CONCURRENTLY stops every write"
    if re.match(r"(LOCK|TRUNCATE|CLUSTER|VACUUM|REFRESH)\b", large):
        yield "the table is locked for as long as this takes"
    if _CHANGED.match(text):
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
