-- The journal: who did what, as a chain of hashes that is only ever added to.

-- The end of the chain. Whoever adds holds this row until the transaction ends, so entries have one order.
CREATE TABLE metalayer.journal_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    journal_id uuid NOT NULL DEFAULT gen_random_uuid(),
    number bigint NOT NULL DEFAULT 0,
    hash bytea NOT NULL
);

-- hash = sha256(hash before || number as 8 bytes || body as UTF-8). All but these three is read out of the body.
CREATE TABLE metalayer.journal (
    number bigint PRIMARY KEY,
    body text NOT NULL,
    hash bytea NOT NULL,
    at text NOT NULL GENERATED ALWAYS AS (body::jsonb ->> 'at') STORED,
    kind text NOT NULL GENERATED ALWAYS AS (body::jsonb ->> 'kind') STORED,
    actor text NOT NULL GENERATED ALWAYS AS (body::jsonb ->> 'actor') STORED,
    subject text NOT NULL GENERATED ALWAYS AS (body::jsonb ->> 'subject') STORED
);
CREATE INDEX ON metalayer.journal (kind, number);
CREATE INDEX ON metalayer.journal (actor, number);
CREATE INDEX ON metalayer.journal (subject, number);

-- Signed statements that the chain had this hash at this number; a file outside of the database holds them as well.
CREATE TABLE metalayer.journal_checkpoint (
    number bigint PRIMARY KEY,
    hash bytea NOT NULL,
    at text NOT NULL,
    key text NOT NULL,
    signature bytea NOT NULL
);

INSERT INTO metalayer.journal_head (journal_id, hash)
    SELECT id, sha256(convert_to('metalayer journal ' || id, 'UTF8')) FROM (SELECT gen_random_uuid() AS id) AS new;

CREATE FUNCTION metalayer.journal_note(entry_kind text, entry_actor text, entry_subject text, detail jsonb)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    head metalayer.journal_head;
    entry text;
BEGIN
    SELECT * INTO STRICT head FROM metalayer.journal_head FOR UPDATE;
    entry := jsonb_build_object(
        'at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'kind', entry_kind, 'actor', entry_actor, 'subject', entry_subject, 'detail', detail
    )::text;
    head.number := head.number + 1;
    head.hash := sha256(head.hash || int8send(head.number) || convert_to(entry, 'UTF8'));
    INSERT INTO metalayer.journal (number, body, hash) VALUES (head.number, entry, head.hash);
    UPDATE metalayer.journal_head SET number = head.number, hash = head.hash;
    RETURN head.number;
END $$;

CREATE FUNCTION metalayer.journal_keep() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION 'the journal is only added to' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON metalayer.journal
    FOR EACH ROW EXECUTE FUNCTION metalayer.journal_keep();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON metalayer.journal
    FOR EACH STATEMENT EXECUTE FUNCTION metalayer.journal_keep();
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON metalayer.journal_checkpoint
    FOR EACH ROW EXECUTE FUNCTION metalayer.journal_keep();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON metalayer.journal_checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION metalayer.journal_keep();
CREATE TRIGGER keep BEFORE DELETE ON metalayer.journal_head
    FOR EACH ROW EXECUTE FUNCTION metalayer.journal_keep();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON metalayer.journal_head
    FOR EACH STATEMENT EXECUTE FUNCTION metalayer.journal_keep();

-- What is written of runs and people is written by the database itself, in the transaction that changes them. The
-- triggers wait for the end of it: the chain's end is held as shortly as can be, and after every other lock.
CREATE FUNCTION metalayer.journal_run() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM metalayer.journal_note('run.started', NEW.user_name, NEW.run_id, jsonb_build_object(
            'environment', NEW.environment, 'command', NEW.command, 'selection', NEW.selection, 'host', NEW.host));
    ELSIF NEW.state IS DISTINCT FROM OLD.state THEN
        PERFORM metalayer.journal_note('run.' || NEW.state, NEW.user_name, NEW.run_id,
            jsonb_build_object('snapshot', NEW.snapshot_id));
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER journal AFTER INSERT OR UPDATE ON metalayer.run DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION metalayer.journal_run();

-- Of people every field but what is secret or changes with each visit. Who changed them is what the session says.
CREATE FUNCTION metalayer.journal_people() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) END;
    secret CONSTANT text[] := ARRAY['password_hash', 'hash', 'key', 'last_seen_at', 'last_used_at'];
    changed jsonb;
    said text := coalesce(nullif(current_setting('metalayer.actor', true), ''), coalesce(after, before) ->> 'created_by');
BEGIN
    SELECT jsonb_object_agg(field, CASE WHEN field = ANY (secret) THEN '"changed"'::jsonb ELSE after -> field END)
        INTO changed
        FROM jsonb_object_keys(coalesce(after, before)) AS field
        WHERE before ->> field IS DISTINCT FROM after ->> field AND field NOT IN ('last_seen_at', 'last_used_at');
    IF TG_OP = 'UPDATE' AND changed IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM metalayer.journal_note(
        TG_TABLE_NAME || CASE TG_OP WHEN 'INSERT' THEN '.added' WHEN 'DELETE' THEN '.removed' ELSE '.changed' END,
        coalesce(said, session_user),
        coalesce(coalesce(after, before) ->> 'person_name', coalesce(after, before) ->> 'name', ''),
        CASE WHEN TG_OP = 'DELETE' THEN before - secret ELSE coalesce(changed, '{}') END);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER journal AFTER INSERT OR UPDATE OR DELETE ON metalayer.person DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION metalayer.journal_people();
CREATE CONSTRAINT TRIGGER journal AFTER INSERT OR UPDATE OR DELETE ON metalayer.person_group
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION metalayer.journal_people();
CREATE CONSTRAINT TRIGGER journal AFTER INSERT OR UPDATE OR DELETE ON metalayer.membership
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION metalayer.journal_people();
CREATE CONSTRAINT TRIGGER journal AFTER INSERT OR UPDATE OR DELETE ON metalayer.person_attribute
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION metalayer.journal_people();
CREATE CONSTRAINT TRIGGER journal AFTER INSERT OR UPDATE OR DELETE ON metalayer.token DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION metalayer.journal_people();
