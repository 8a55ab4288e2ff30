-- Up to which snapshot of a source its current rows are kept as a table, as of each publication that brought them along.

CREATE TABLE metalayer.kept_current (
    table_name text NOT NULL,
    snapshot_id bigint NOT NULL,
    meaning text NOT NULL,
    source_id bigint NOT NULL,
    source_snapshot bigint NOT NULL,
    PRIMARY KEY (table_name, snapshot_id)
);
