-- 0001 - the head of the state machine, what happened, and what every table's guard needs.
-- SPDX-License-Identifier: GPL-3.0-or-later

CREATE TABLE core_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch bigint NOT NULL CHECK (epoch >= 0),
    seq bigint NOT NULL CHECK (seq >= 0)
);
COMMENT ON TABLE core_head IS 'The one row that says who leads and how far it has written; every writing transaction begins with core_advance()';
COMMENT ON COLUMN core_head.one IS 'true: there is one row';
COMMENT ON COLUMN core_head.epoch IS 'Leadership: raised by each daemon that takes over, so that an older one can write nothing more';
COMMENT ON COLUMN core_head.seq IS 'The last batch that was committed';
INSERT INTO core_head VALUES (true, 0, 0);

CREATE FUNCTION core_advance(of_epoch bigint, to_seq bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE core_head SET seq = to_seq WHERE epoch = of_epoch AND seq = to_seq - 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % may not write batch %', of_epoch, to_seq USING ERRCODE = 'BT001';
    END IF;
END $$;
COMMENT ON FUNCTION core_advance IS 'Takes the next batch number or raises BT001 (an UPDATE of no rows would not stop a pipeline)';

CREATE FUNCTION expect_rows(what text, got bigint, want bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF got IS DISTINCT FROM want THEN
        RAISE EXCEPTION '%: % of % rows were there', what, got, want;
    END IF;
END $$;
COMMENT ON FUNCTION expect_rows IS 'Ends the transaction when a statement did not find all of its rows';

CREATE FUNCTION deny_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', DETAIL = 'trigger ' || TG_NAME;
END $$;
COMMENT ON FUNCTION deny_change IS 'The guard of what only grows or never changes';

CREATE FUNCTION utc_text(us bigint) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE RETURNS NULL ON NULL INPUT AS $$
    SELECT to_char(to_timestamp(us / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')
        || CASE WHEN us % 1000000 = 0 THEN 'Z'
                ELSE '.' || lpad((us % 1000000)::text, 6, '0') || 'Z' END
$$;
COMMENT ON FUNCTION utc_text IS 'RFC 3339 in UTC of microseconds since the epoch, with a fraction when there is one';

CREATE TABLE event (
    seq bigint NOT NULL,
    ord integer NOT NULL,
    at_us bigint NOT NULL,
    kind text NOT NULL,
    actor text,
    subject text,
    body text,
    PRIMARY KEY (seq, ord)
);
COMMENT ON TABLE event IS 'What happened and who did it, for audit, cursors and replay; only grows; its key lets it become a partition by seq as it is';
COMMENT ON COLUMN event.seq IS 'The batch (core_head.seq) that wrote it';
COMMENT ON COLUMN event.ord IS 'Its place within the batch';
COMMENT ON COLUMN event.at_us IS 'The core''s stamped time, microseconds since the epoch';
COMMENT ON COLUMN event.kind IS 'What happened: submit, claim, quota, …';
COMMENT ON COLUMN event.actor IS 'Who: nation/person, agent/node, or inside';
COMMENT ON COLUMN event.subject IS 'About what: a job''s id, a person, an account, a node';
COMMENT ON COLUMN event.body IS 'JSON text with the rest';
CREATE INDEX event_subject ON event (subject, seq);
CREATE INDEX event_at ON event USING brin (at_us) WITH (pages_per_range = 32);
CREATE TRIGGER event_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON event
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();

CREATE TABLE policy (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    at_us bigint NOT NULL,
    text text NOT NULL
);
COMMENT ON TABLE policy IS 'Every set of rules that was ever in force';
COMMENT ON COLUMN policy.digest IS 'SHA-256 of the rules'' text';
COMMENT ON COLUMN policy.at_us IS 'When it last came into force, microseconds since the epoch';
COMMENT ON COLUMN policy.text IS 'The rules as loaded';
CREATE TRIGGER policy_stays BEFORE DELETE OR TRUNCATE ON policy
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();
