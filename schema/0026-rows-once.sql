-- 0026 - what of a new row never changes is checked once, by the guard of the statement that wrote it.
-- SPDX-License-Identifier: GPL-3.0-or-later
-- PostgreSQL reads the text of each CHECK anew for each statement: of a batch of 23 submissions that was an eighth of
-- its time. Columns that no UPDATE may touch (job_fixed, entry_grows, account_by_entry) need no CHECK when the
-- trigger that sees the inserted rows looks at them: same rules, same SQLSTATE. The states of a job are
-- those that a new one may have (job_begins) and those that steps lead to (job_guard). What an UPDATE may
-- change keeps its CHECK: records of ended jobs, balances.

ALTER TABLE job
    DROP CONSTRAINT job_body_sha256_check, DROP CONSTRAINT job_accelerators_check, DROP CONSTRAINT job_walltime_s_check,
    DROP CONSTRAINT job_state_check, DROP CONSTRAINT job_array_task_check, DROP CONSTRAINT job_check,
    DROP CONSTRAINT job_array, DROP CONSTRAINT job_memory_gb_check, DROP CONSTRAINT job_bandwidth_gb_check,
    DROP CONSTRAINT job_datasets_check;

CREATE OR REPLACE FUNCTION job_begins() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    wrong boolean;
    late boolean;
    stray boolean;
BEGIN
    SELECT bool_or(f.wrong), bool_or(f.late),
           bool_or(NOT EXISTS (SELECT FROM project p WHERE p.id = f.project AND p.nation = f.nation)
                   OR NOT EXISTS (SELECT FROM person q WHERE q.id = f.person)
                   OR (f.reservation IS NOT NULL AND NOT EXISTS (
                       SELECT FROM outage o WHERE o.id = f.reservation)))
    INTO wrong, late, stray
    FROM (SELECT person, project, nation, reservation,
                 bool_or(length(body_sha256) <> 32
                         OR accelerators NOT BETWEEN 0 AND 100000
                         OR min_accelerators NOT BETWEEN 1 AND accelerators
                         OR walltime_s <= 0
                         OR (array_of IS NULL) <> (array_task IS NULL) OR array_task < 0
                         OR memory_gb NOT BETWEEN 1 AND 65535
                         OR bandwidth_gb NOT BETWEEN 1 AND 65535
                         OR datasets !~ '^[a-z0-9][a-z0-9._-]{0,62}( [a-z0-9][a-z0-9._-]{0,62}){0,7}$') AS wrong,
                 bool_or(state NOT IN ('held', 'queued') OR submit_idx IS NOT NULL
                         OR result_idx IS NOT NULL) AS late
          FROM fresh GROUP BY person, project, nation, reservation) f;
    IF wrong THEN
        RAISE EXCEPTION 'a job asks for what no job may ask for' USING ERRCODE = 'check_violation';
    END IF;
    IF late THEN
        RAISE EXCEPTION 'a new job is held or queued' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF stray THEN
        RAISE EXCEPTION 'a job names no person, no reservation, or a project that is not of its nation'
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION job_begins IS 'How a job may begin, what it may ask for, and its foreign keys, one look a statement';

ALTER TABLE entry DROP CONSTRAINT entry_moves;

CREATE OR REPLACE FUNCTION entry_to_account() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    want bigint;
    got bigint;
    made boolean;
BEGIN
    UPDATE account a
    SET free = a.free + t.f, held = a.held + t.h, spent = a.spent + t.s,
        granted = a.granted + t.f + t.h + t.s
    FROM (
        SELECT coalesce(nation, project, person) AS id,
               CASE WHEN nation IS NOT NULL THEN 'nation' WHEN project IS NOT NULL THEN 'project'
                    ELSE 'person' END AS level,
               sum(d_free)::bigint AS f, sum(d_held)::bigint AS h, sum(d_spent)::bigint AS s
        FROM fresh GROUP BY GROUPING SETS ((nation), (project), (person))
    ) t
    WHERE a.id = t.id AND a.level = t.level;
    GET DIAGNOSTICS got = ROW_COUNT;
    SELECT count(DISTINCT nation) + count(DISTINCT project) + count(DISTINCT person),
           bool_or(kind <> 'grant' AND d_free + d_held + d_spent <> 0)
    INTO want, made FROM fresh;
    IF made THEN
        RAISE EXCEPTION 'an entry that is no grant moves within its accounts'
            USING ERRCODE = 'check_violation';
    END IF;
    IF got <> want THEN
        RAISE EXCEPTION 'entries name % accounts, % of them exist at that level', want, got
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION entry_to_account IS 'Adds the new entries to the accounts they name, one update a statement; only a grant changes what there is';

-- A foreign key makes an UPDATE of its row read the row before once more, for each of the 34 accounts of a batch, and
-- these columns never change.
ALTER TABLE account
    DROP CONSTRAINT account_level_check, DROP CONSTRAINT account_nation_fkey, DROP CONSTRAINT account_project_fkey,
    DROP CONSTRAINT account_person_fkey;

CREATE FUNCTION account_begins() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM fresh WHERE level NOT IN ('nation', 'project', 'person')) THEN
        RAISE EXCEPTION 'an account is of a nation, a project or a person' USING ERRCODE = 'check_violation';
    END IF;
    IF EXISTS (SELECT FROM fresh f
               WHERE (f.nation IS NOT NULL AND NOT EXISTS (SELECT FROM nation n WHERE n.id = f.nation))
                  OR (f.project IS NOT NULL AND NOT EXISTS (SELECT FROM project p WHERE p.id = f.project))
                  OR (f.person IS NOT NULL AND NOT EXISTS (SELECT FROM person q WHERE q.id = f.person))) THEN
        RAISE EXCEPTION 'an account names a nation, project or person that is not there'
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION account_begins IS 'A new account has a level and its owners are there';
CREATE TRIGGER account_begin AFTER INSERT ON account REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION account_begins();
DROP TRIGGER account_by_entry ON account;
-- depth 0: not from entry's own trigger
CREATE TRIGGER account_by_entry BEFORE UPDATE OF id, level, nation, project, person, granted, free, held, spent ON account
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION deny_change();
CREATE TRIGGER nation_stays BEFORE UPDATE OF id OR DELETE OR TRUNCATE ON nation
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();
CREATE TRIGGER project_stays BEFORE UPDATE OF id OR DELETE OR TRUNCATE ON project
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();
CREATE TRIGGER person_stays BEFORE UPDATE OF id OR DELETE OR TRUNCATE ON person
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();
