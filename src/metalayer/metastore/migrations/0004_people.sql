-- People: users and services, their groups, attributes and tokens. What they may see stands in the project's files.

CREATE TABLE metalayer.person (
    name text PRIMARY KEY,
    kind text NOT NULL,
    display_name text NOT NULL,
    email text NOT NULL,
    password_hash text,
    issuer text,
    subject text,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    disabled_at timestamptz,
    last_seen_at timestamptz,
    CHECK ((issuer IS NULL) = (subject IS NULL)),
    UNIQUE (issuer, subject)
);

CREATE TABLE metalayer.person_group (
    name text PRIMARY KEY,
    description text NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL
);

CREATE TABLE metalayer.membership (
    group_name text NOT NULL REFERENCES metalayer.person_group ON DELETE CASCADE,
    person_name text NOT NULL REFERENCES metalayer.person ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    PRIMARY KEY (group_name, person_name)
);
CREATE INDEX ON metalayer.membership (person_name);

CREATE TABLE metalayer.person_attribute (
    person_name text NOT NULL REFERENCES metalayer.person ON DELETE CASCADE,
    name text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (person_name, name, value)
);

-- Only the SHA-256 of a token is kept: whoever reads this table holds no token.
CREATE TABLE metalayer.token (
    token_id text PRIMARY KEY,
    hash bytea NOT NULL CHECK (length(hash) = 32),
    person_name text NOT NULL REFERENCES metalayer.person ON DELETE CASCADE,
    label text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX ON metalayer.token (person_name);

-- Keys that never leave the database, such as the one of hashes and tokens that masks show.
CREATE TABLE metalayer.secret_key (
    name text PRIMARY KEY,
    key bytea NOT NULL CHECK (length(key) = 32),
    created_at timestamptz NOT NULL
);
