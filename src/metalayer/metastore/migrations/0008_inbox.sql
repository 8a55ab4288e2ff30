-- Inboxes: what was sent to this environment and waits to be loaded. The one place where rows of data lie in PostgreSQL,
-- and only until they are in bronze.

-- One row a request. The body is its records as they were sent, one a line. Ids are given in the order of commits (see
-- inbox_head), so that whoever has read up to an id has seen everything below it.
CREATE TABLE metalayer.inbox (
    source text NOT NULL,
    id bigint NOT NULL,
    received_at timestamptz NOT NULL,
    content_type text NOT NULL,
    records integer NOT NULL CHECK (records > 0),
    body text NOT NULL,
    PRIMARY KEY (source, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000);
ALTER TABLE metalayer.inbox ALTER COLUMN body SET STORAGE EXTERNAL;

-- The id that was given last. Its row is held from the giving of ids to the commit: one writer at a time.
CREATE TABLE metalayer.inbox_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO metalayer.inbox_head DEFAULT VALUES;

-- What was received under a key, and when: the same key is not stored again. `fingerprint` is the body's.
CREATE TABLE metalayer.inbox_key (
    source text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (source, key)
);
CREATE INDEX ON metalayer.inbox_key (received_at);

-- How much ever came in and went on to bronze, so that what waits is known without counting it.
CREATE TABLE metalayer.inbox_source (
    source text PRIMARY KEY,
    received_rows bigint NOT NULL DEFAULT 0,
    received_records bigint NOT NULL DEFAULT 0,
    received_bytes bigint NOT NULL DEFAULT 0,
    taken_rows bigint NOT NULL DEFAULT 0,
    taken_records bigint NOT NULL DEFAULT 0,
    taken_bytes bigint NOT NULL DEFAULT 0,
    repeated bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    received_at timestamptz
) WITH (fillfactor = 10);

-- A token may be for some inboxes only; none named means all that its scopes allow.
ALTER TABLE metalayer.token ADD COLUMN sources text[] NOT NULL DEFAULT '{}';
