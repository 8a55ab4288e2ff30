-- Undo and disaster: what was taken back, what it was before, and by what a damaged file is known.

-- What tells a process from a later one with the same number; NULL where its system does not say.
ALTER TABLE metalayer.run ADD COLUMN process text;
-- The run that rolled this one back.
ALTER TABLE metalayer.run ADD COLUMN undone_by text;

-- The run that took the batch's rows out of its table, and the commit that did.
ALTER TABLE metalayer.batch ADD COLUMN retracted_by text;
ALTER TABLE metalayer.batch ADD COLUMN retracted_snapshot bigint;

-- A replaced batch counts again from this snapshot on: the one that had replaced it was retracted.
ALTER TABLE metalayer.superseded ADD COLUMN ended_snapshot bigint;
ALTER TABLE metalayer.superseded DROP CONSTRAINT superseded_pkey;
ALTER TABLE metalayer.superseded ADD PRIMARY KEY (table_name, part, batch_id, snapshot_id);

-- What was known of a derived table before a run published it (NULL: nothing), so that a rollback can say it again.
CREATE TABLE metalayer.publication (
    table_name text NOT NULL,
    run_id text NOT NULL,
    snapshot_id bigint NOT NULL,
    before jsonb,
    PRIMARY KEY (table_name, run_id)
);
CREATE INDEX ON metalayer.publication (run_id);

-- Environments in which nothing runs until somebody releases them.
CREATE TABLE metalayer.held (
    environment text PRIMARY KEY,
    run_id text NOT NULL,
    undone text[] NOT NULL,
    snapshot_id bigint NOT NULL,
    user_name text NOT NULL,
    at timestamptz NOT NULL
);

-- The CRC-32 of each data and delete file, by its id in the catalog.
CREATE TABLE lake.metalayer_checksum (
    file_id bigint PRIMARY KEY,
    crc32 bigint NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now()
);
