-- Who is there, as one word: it is another after each change that decides what somebody sees, so that what is known of
-- people need not be asked again with each query. A restore brings it back together with those it stood for.

CREATE TABLE metalayer.people_version (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO metalayer.people_version DEFAULT VALUES;

CREATE FUNCTION metalayer.people_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    UPDATE metalayer.people_version SET version = gen_random_uuid();
    RETURN NULL;
END $$;

-- When somebody was last seen, and with which password, decides nothing.
CREATE TRIGGER version AFTER INSERT OR DELETE OR TRUNCATE OR UPDATE OF name, disabled_at ON metalayer.person
    FOR EACH STATEMENT EXECUTE FUNCTION metalayer.people_changed();
CREATE TRIGGER version AFTER INSERT OR DELETE OR TRUNCATE OR UPDATE ON metalayer.membership
    FOR EACH STATEMENT EXECUTE FUNCTION metalayer.people_changed();
CREATE TRIGGER version AFTER INSERT OR DELETE OR TRUNCATE OR UPDATE ON metalayer.person_attribute
    FOR EACH STATEMENT EXECUTE FUNCTION metalayer.people_changed();
