-- 0004 - accounts, and the entries that alone may change them.
-- SPDX-License-Identifier: GPL-3.0-or-later

CREATE TABLE account (
    id integer PRIMARY KEY,
    level text NOT NULL CHECK (level IN ('nation', 'project', 'person')),
    nation integer REFERENCES nation,
    project integer REFERENCES project,
    person integer REFERENCES person,
    overdraft bigint NOT NULL CHECK (overdraft >= 0),
    from_us bigint,
    until_us bigint,
    granted bigint NOT NULL DEFAULT 0,
    free bigint NOT NULL DEFAULT 0,
    held bigint NOT NULL DEFAULT 0,
    spent bigint NOT NULL DEFAULT 0,
    CONSTRAINT account_balances CHECK (granted = free + held + spent),
    CONSTRAINT account_overdraft CHECK (free >= -overdraft),
    CONSTRAINT account_signs CHECK (held >= 0 AND spent >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE account IS 'Quota of a nation, a project or a person for a period, in milli reference-accelerator-seconds';
COMMENT ON COLUMN account.id IS 'Number within the facility';
COMMENT ON COLUMN account.level IS 'nation, project or person';
COMMENT ON COLUMN account.nation IS 'Whose';
COMMENT ON COLUMN account.project IS 'Of which project, if the level is below the nation';
COMMENT ON COLUMN account.person IS 'Of which person, at the person''s level';
COMMENT ON COLUMN account.overdraft IS 'How far free may go below zero';
COMMENT ON COLUMN account.from_us IS 'First moment of the period, microseconds since the epoch';
COMMENT ON COLUMN account.until_us IS 'End of the period (exclusive), microseconds since the epoch';
COMMENT ON COLUMN account.granted IS 'free + held + spent';
COMMENT ON COLUMN account.free IS 'What can still be held';
COMMENT ON COLUMN account.held IS 'Set aside for attempts that are not settled';
COMMENT ON COLUMN account.spent IS 'Charged';

CREATE TABLE entry (
    op uuid NOT NULL,
    kind text NOT NULL,
    part integer NOT NULL,
    nation integer,
    project integer,
    person integer,
    d_free bigint NOT NULL,
    d_held bigint NOT NULL,
    d_spent bigint NOT NULL,
    at_us bigint NOT NULL,
    PRIMARY KEY (op, kind, part),
    CONSTRAINT entry_moves CHECK (kind = 'grant' OR d_free + d_held + d_spent = 0)
);
COMMENT ON TABLE entry IS 'Every change of accounts, once; only grows; its trigger adds it to up to three accounts';
COMMENT ON COLUMN entry.op IS 'The job, or the request that changed a grant';
COMMENT ON COLUMN entry.kind IS 'hold, settle, … move within an account; grant alone changes what is granted';
COMMENT ON COLUMN entry.part IS 'The attempt of the job, else 0: one hold and one settlement an attempt';
COMMENT ON COLUMN entry.nation IS 'Account of the nation''s level, if it is touched';
COMMENT ON COLUMN entry.project IS 'Account of the project''s level, if it is touched';
COMMENT ON COLUMN entry.person IS 'Account of the person''s level, if it is touched';
COMMENT ON COLUMN entry.d_free IS 'Added to free';
COMMENT ON COLUMN entry.d_held IS 'Added to held';
COMMENT ON COLUMN entry.d_spent IS 'Added to spent';
COMMENT ON COLUMN entry.at_us IS 'The core''s stamped time, microseconds since the epoch';

CREATE FUNCTION entry_to_account() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    want bigint;
    got bigint;
BEGIN
    WITH touched AS (
        SELECT nation AS id, 'nation' AS level, d_free, d_held, d_spent FROM fresh WHERE nation IS NOT NULL
        UNION ALL
        SELECT project, 'project', d_free, d_held, d_spent FROM fresh WHERE project IS NOT NULL
        UNION ALL
        SELECT person, 'person', d_free, d_held, d_spent FROM fresh WHERE person IS NOT NULL
    ), total AS (
        SELECT id, level, sum(d_free)::bigint AS f, sum(d_held)::bigint AS h, sum(d_spent)::bigint AS s
        FROM touched GROUP BY id, level
    ), done AS (
        UPDATE account a
        SET free = a.free + t.f, held = a.held + t.h, spent = a.spent + t.s,
            granted = a.granted + t.f + t.h + t.s
        FROM total t WHERE a.id = t.id AND a.level = t.level
        RETURNING a.id
    )
    SELECT (SELECT count(*) FROM total), (SELECT count(*) FROM done) INTO want, got;
    IF got <> want THEN
        RAISE EXCEPTION 'entries name % accounts, % of them exist at that level', want, got
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION entry_to_account IS 'Adds the new entries to the accounts they name, one update a statement';
CREATE TRIGGER entry_counts AFTER INSERT ON entry REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION entry_to_account();
CREATE TRIGGER entry_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON entry
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();

CREATE FUNCTION account_starts_empty() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM fresh WHERE granted <> 0 OR free <> 0 OR held <> 0 OR spent <> 0) THEN
        RAISE EXCEPTION 'an account starts empty: a grant is an entry' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION account_starts_empty IS 'A new account holds nothing';
CREATE TRIGGER account_empty AFTER INSERT ON account REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION account_starts_empty();
-- depth 0: not from entry's own trigger
CREATE TRIGGER account_by_entry BEFORE UPDATE OF level, granted, free, held, spent ON account
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION deny_change();
CREATE TRIGGER account_stays BEFORE DELETE OR TRUNCATE ON account
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();
