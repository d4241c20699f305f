CREATE TABLE IF NOT EXISTS issues (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    title TEXT NOT NULL,
    description TEXT,
    priority INTEGER NOT NULL,
    state_id TEXT NOT NULL,
    label_ids TEXT NOT NULL,          -- JSON list
    project_id TEXT,
    creator_id TEXT,
    sort_order REAL NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    started_at TEXT,
    completed_at TEXT,
    canceled_at TEXT,
    archived_at TEXT,
    trashed INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS history (
    id TEXT PRIMARY KEY,
    issue_id TEXT NOT NULL REFERENCES issues (id),
    actor_id TEXT,                    -- a person, a bot, or nobody
    from_state_id TEXT,
    to_state_id TEXT,
    archived INTEGER,
    trashed INTEGER,
    created_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS history_of_issue ON history (issue_id);
CREATE TABLE IF NOT EXISTS comments (
    id TEXT PRIMARY KEY,
    issue_id TEXT NOT NULL REFERENCES issues (id),
    parent_id TEXT REFERENCES comments (id),
    author_id TEXT,
    body TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    edited_at TEXT
);
CREATE INDEX IF NOT EXISTS comments_of_issue ON comments (issue_id);
CREATE TABLE IF NOT EXISTS reactions (
    id TEXT PRIMARY KEY,
    issue_id TEXT REFERENCES issues (id),
    comment_id TEXT REFERENCES comments (id) ON DELETE CASCADE,
    author_id TEXT,
    emoji TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS reactions_to_issue ON reactions (issue_id);
CREATE INDEX IF NOT EXISTS reactions_to_comment ON reactions (comment_id);
CREATE TABLE IF NOT EXISTS attachments (
    id TEXT PRIMARY KEY,
    issue_id TEXT NOT NULL REFERENCES issues (id),
    url TEXT NOT NULL,
    title TEXT NOT NULL,
    subtitle TEXT,
    metadata TEXT NOT NULL,           -- JSON object
    creator_id TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (issue_id, url)
);

CREATE TABLE IF NOT EXISTS webhooks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    delivery TEXT NOT NULL UNIQUE,    -- the Linear-Delivery header, the same for every attempt
    event TEXT NOT NULL,
    action TEXT NOT NULL,
    issue_id TEXT,
    body TEXT NOT NULL,
    signature TEXT NOT NULL,
    timestamp INTEGER NOT NULL,       -- epoch milliseconds
    state TEXT NOT NULL,              -- waiting, delivered, failed, lost
    tries INTEGER NOT NULL DEFAULT 0,
    due_at REAL,                      -- epoch seconds
    created_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS webhooks_due ON webhooks (due_at) WHERE state = 'waiting';
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY,
    webhook_id INTEGER NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    url TEXT NOT NULL,
    status INTEGER,
    answer TEXT NOT NULL,             -- the start of the answer's body, or what went wrong
    seconds REAL NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS attempts_of_webhook ON attempts (webhook_id);

CREATE TABLE IF NOT EXISTS pulls (
    repository TEXT NOT NULL,         -- owner/name
    number INTEGER NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    author TEXT NOT NULL,
    head_ref TEXT NOT NULL,
    head_sha TEXT NOT NULL,
    base_ref TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (repository, number)
);
CREATE TABLE IF NOT EXISTS pull_comments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    repository TEXT NOT NULL,
    number INTEGER NOT NULL,
    author TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS comments_of_pull ON pull_comments (repository, number);
CREATE TABLE IF NOT EXISTS statuses (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    repository TEXT NOT NULL,
    sha TEXT NOT NULL,
    state TEXT NOT NULL,
    context TEXT NOT NULL,
    description TEXT,
    target_url TEXT,
    created_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS statuses_of_commit ON statuses (repository, sha);
CREATE TABLE IF NOT EXISTS workflow_runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    repository TEXT NOT NULL,
    workflow TEXT NOT NULL,
    ref TEXT NOT NULL,
    inputs TEXT NOT NULL,             -- JSON object
    created_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS protection_reviews (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    repository TEXT NOT NULL,
    run_id INTEGER NOT NULL,
    environment TEXT NOT NULL,
    state TEXT NOT NULL,
    comment TEXT NOT NULL,
    created_at TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS hook_calls (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    idempotency_key TEXT,
    body TEXT NOT NULL,
    calls INTEGER NOT NULL,           -- how often it was asked for; it was done once
    created_at TEXT NOT NULL,
    UNIQUE (name, idempotency_key)
);

CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    target TEXT NOT NULL,             -- linear, github, hooks
    operation TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    headers TEXT NOT NULL,            -- JSON object, the authorization's value left out
    body TEXT NOT NULL,
    status INTEGER,                   -- null where the connection was dropped
    fault TEXT,
    created_at TEXT NOT NULL
);
