-- The facts that commit together with the rows they are about. Tables of data live in the lake; nothing here is a row of data.

CREATE TABLE metalayer.run (
    run_id text PRIMARY KEY,
    environment text NOT NULL,
    state text NOT NULL,
    command text NOT NULL,
    selection text,
    user_name text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    code_version text NOT NULL,
    git_commit text,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    snapshot_id bigint,
    report text
);
CREATE INDEX ON metalayer.run (started_at DESC);

CREATE TABLE metalayer.task (
    run_id text NOT NULL REFERENCES metalayer.run,
    kind text NOT NULL,
    table_name text NOT NULL,
    strategy text NOT NULL,
    reason text NOT NULL,
    state text NOT NULL,
    attempts integer NOT NULL,
    seconds double precision NOT NULL,
    snapshot_id bigint,
    accounts jsonb NOT NULL,
    flow jsonb,
    notes jsonb NOT NULL,
    failure jsonb,
    PRIMARY KEY (run_id, kind, table_name)
);

CREATE TABLE metalayer.attempt (
    run_id text NOT NULL REFERENCES metalayer.run,
    kind text NOT NULL,
    table_name text NOT NULL,
    number integer NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    failure jsonb,
    PRIMARY KEY (run_id, kind, table_name, number)
);

CREATE TABLE metalayer.event (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    table_name text,
    message text NOT NULL,
    detail jsonb NOT NULL
);
CREATE INDEX ON metalayer.event (run_id);

-- One commit of rows from a source, with the account of what was read.
CREATE TABLE metalayer.batch (
    batch_id text PRIMARY KEY,
    table_name text NOT NULL,
    run_id text NOT NULL,
    snapshot_id bigint NOT NULL,
    ingested_at timestamptz NOT NULL,
    rows_read bigint NOT NULL,
    rows_loaded bigint NOT NULL,
    rows_quarantined bigint NOT NULL,
    rows_rejected bigint NOT NULL,
    rows_already_loaded bigint NOT NULL,
    CHECK (rows_read = rows_loaded + rows_quarantined + rows_rejected + rows_already_loaded)
);
CREATE INDEX ON metalayer.batch (table_name, snapshot_id);

-- Where each part of each source stands. `version` is what the compare-and-set compares.
CREATE TABLE metalayer.cursor (
    table_name text NOT NULL,
    part text NOT NULL,
    position jsonb NOT NULL,
    version bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('loaded', 'already_loaded', 'aside')),
    reason text NOT NULL DEFAULT '',
    batch_id text,
    snapshot_id bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (table_name, part)
);

-- Batches of a part that a newer version of the part has replaced, from which snapshot on.
CREATE TABLE metalayer.superseded (
    table_name text NOT NULL,
    part text NOT NULL,
    batch_id text NOT NULL,
    snapshot_id bigint NOT NULL,
    PRIMARY KEY (table_name, part, batch_id)
);

-- What each derived table was last made from: the proof that it needs no work.
CREATE TABLE metalayer.published (
    table_name text PRIMARY KEY,
    meaning text NOT NULL,
    run_id text NOT NULL,
    snapshot_id bigint NOT NULL,
    published_at timestamptz NOT NULL,
    definition text NOT NULL
);

CREATE TABLE metalayer.position (
    table_name text NOT NULL,
    input text NOT NULL,
    table_id bigint,
    snapshot_id bigint NOT NULL,
    PRIMARY KEY (table_name, input)
);

CREATE TABLE metalayer.verdict (
    run_id text NOT NULL,
    batch_id text NOT NULL DEFAULT '',
    table_name text NOT NULL,
    check_name text NOT NULL,
    rule text NOT NULL,
    columns text[] NOT NULL,
    dimension text NOT NULL,
    on_fail text NOT NULL,
    outcome text NOT NULL,
    checked bigint NOT NULL,
    failed bigint NOT NULL,
    sample text[] NOT NULL,
    observed text,
    snapshot_id bigint,
    judged_at timestamptz NOT NULL,
    PRIMARY KEY (run_id, table_name, check_name, batch_id)
);
CREATE INDEX ON metalayer.verdict (table_name, check_name, judged_at);

CREATE TABLE metalayer.account (
    run_id text NOT NULL,
    table_name text NOT NULL,
    batch_id text NOT NULL DEFAULT '',
    kind text NOT NULL,
    terms jsonb NOT NULL,
    snapshot_id bigint NOT NULL,
    PRIMARY KEY (run_id, table_name, kind, batch_id)
);

CREATE TABLE metalayer.lineage (
    table_name text NOT NULL,
    snapshot_id bigint NOT NULL,
    meaning text NOT NULL,
    edges jsonb NOT NULL,
    PRIMARY KEY (table_name, snapshot_id)
);
