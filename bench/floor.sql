-- The least SQL that could keep the promises of a decision and of an opening. Each section below is
-- one transaction: a webhook that counts once, a vote, one decision, a log, and work that is owed.

-- section: tables
CREATE SCHEMA floor;
CREATE TABLE floor.request (
    id uuid PRIMARY KEY,
    task jsonb NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    expires_at timestamptz NOT NULL DEFAULT clock_timestamp() + interval '4 hours',
    decided_at timestamptz,
    decided_by text
);
CREATE TABLE floor.webhook (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery_id text NOT NULL UNIQUE,
    body_digest text NOT NULL UNIQUE,
    body text NOT NULL
);
CREATE TABLE floor.vote (
    request_id uuid REFERENCES floor.request,
    voter text,
    choice text NOT NULL,
    PRIMARY KEY (request_id, voter)
);
CREATE TABLE floor.audit (
    request_id uuid REFERENCES floor.request,
    number integer,
    name text NOT NULL,
    actor text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (request_id, number)
);
CREATE TABLE floor.delivery (
    request_id uuid REFERENCES floor.request,
    channel text,
    wanted integer NOT NULL DEFAULT 1,
    done integer NOT NULL DEFAULT 0,
    PRIMARY KEY (request_id, channel)
);

-- section: decide
INSERT INTO floor.webhook (delivery_id, body_digest, body)
    VALUES (%(delivery_id)s, %(body_digest)s, %(body)s);
INSERT INTO floor.vote (request_id, voter, choice) VALUES (%(request_id)s, %(voter)s, 'approve');
UPDATE floor.request SET status = 'approved', decided_at = clock_timestamp(), decided_by = %(voter)s
    WHERE id = %(request_id)s AND status = 'pending' AND expires_at > clock_timestamp();
INSERT INTO floor.audit (request_id, number, name, actor)
    VALUES (%(request_id)s, 2, 'request.approved', %(voter)s);
UPDATE floor.delivery SET wanted = wanted + 1 WHERE request_id = %(request_id)s;

-- section: open
INSERT INTO floor.request (id, task) VALUES (%(request_id)s, %(task)s);
INSERT INTO floor.audit (request_id, number, name, actor)
    VALUES (%(request_id)s, 1, 'request.opened', %(voter)s);
INSERT INTO floor.delivery (request_id, channel)
    VALUES (%(request_id)s, 'linear'), (%(request_id)s, 'workflow');
