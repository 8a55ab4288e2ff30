-- Backfills: which days of which tables are computed again, and which of their intervals are done. An interval is marked
-- done in the transaction that publishes its rows.

CREATE TABLE metalayer.backfill (
    backfill_id text PRIMARY KEY,
    tables text[] NOT NULL,
    selection text NOT NULL,
    meanings jsonb NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'done', 'failed', 'interrupted')),
    user_name text NOT NULL,
    host text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE INDEX ON metalayer.backfill (started_at DESC);

CREATE TABLE metalayer.backfill_interval (
    backfill_id text NOT NULL REFERENCES metalayer.backfill,
    first_day date NOT NULL,
    last_day date NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'done', 'failed')),
    run_id text,
    snapshot_id bigint,
    changed_at timestamptz,
    published bigint,
    removed bigint,
    failure text,
    PRIMARY KEY (backfill_id, first_day)
);
