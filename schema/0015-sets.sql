-- 0015 - a statement's rows are checked as a set: the leaves that jobs name, the steps they took, what entries add up to.
-- SPDX-License-Identifier: GPL-3.0-or-later
-- The foreign key of job.record_idx fired once a row, also for a new job, whose record is NULL by CHECK: 4 us of every
-- submission and 26 us of every end. job_guard looks at the three kinds of leaves at once; leaves only grow, so
-- the other half of the key has nothing to guard. It was the one user of the index UNIQUE (idx, job, kind).
-- Rows of other tables are looked up by scalar subqueries: those stay lookups by key whatever the planner knew
-- when it made the plan, a join of a young database may stay a scan of the whole table.

ALTER TABLE job DROP CONSTRAINT job_record;
ALTER TABLE ledger_entry DROP CONSTRAINT ledger_entry_idx_job_kind_key;

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
        SELECT v.id, v.level, sum(g.f)::bigint AS f, sum(g.h)::bigint AS h, sum(g.s)::bigint AS s
        FROM (SELECT nation, project, person, sum(d_free) AS f, sum(d_held) AS h, sum(d_spent) AS s
              FROM fresh GROUP BY nation, project, person) g,
             LATERAL (VALUES (nation, 'nation'), (project, 'project'), (person, 'person')) v (id, level)
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

CREATE OR REPLACE FUNCTION job_guard() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    astray text; -- the steps that are none
    named boolean;
    ended boolean;
    bad uuid;
BEGIN
    SELECT string_agg(g.a || ' to ' || g.b, ', ') FILTER (WHERE g.lost OR (g.a <> g.b AND NOT EXISTS (
               SELECT FROM job_reach r WHERE r.from_state = g.a AND r.to_state = g.b))),
           bool_or(g.named), bool_or(g.ended)
    INTO astray, named, ended
    FROM (
        SELECT w.state AS a, x.state AS b,
               bool_or(x.attempt < w.attempt
                   OR (w.record_idx IS NOT NULL AND x.record_idx IS DISTINCT FROM w.record_idx)
                   OR (w.submit_idx IS NOT NULL AND x.submit_idx IS DISTINCT FROM w.submit_idx)
                   OR (w.result_idx IS NOT NULL AND x.result_idx IS NULL)) AS lost,
               bool_or(x.record_idx IS DISTINCT FROM w.record_idx
                   OR x.submit_idx IS DISTINCT FROM w.submit_idx
                   OR x.result_idx IS DISTINCT FROM w.result_idx) AS named,
               bool_or(x.record_idx IS NOT NULL) AS ended
        FROM was w JOIN now x ON x.id = w.id
        GROUP BY w.state, x.state
    ) g;
    IF astray IS NOT NULL THEN
        RAISE EXCEPTION 'a job may not go from %, nor lose an attempt or a leaf', astray
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF named THEN
        SELECT n.id INTO bad
        FROM (
            SELECT x.id, v.idx, v.kind
            FROM was w JOIN now x ON x.id = w.id,
                 LATERAL (VALUES (x.record_idx, w.record_idx, 'record'), (x.submit_idx, w.submit_idx, 'submit'),
                                 (x.result_idx, w.result_idx, 'result')) v (idx, before, kind)
            WHERE v.idx IS DISTINCT FROM v.before
        ) n
        WHERE (SELECT l.job = n.id AND l.kind = n.kind FROM ledger_entry l WHERE l.idx = n.idx) IS NOT TRUE
        LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'job % names a leaf that is not its own', bad
                USING ERRCODE = 'foreign_key_violation';
        END IF;
    END IF;
    IF ended THEN
        SELECT x.id INTO bad
        FROM now x
        WHERE x.record_idx IS NOT NULL AND (SELECT sum(e.d_held) FROM entry e WHERE e.op = x.id) <> 0
        LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'job % ends with quota still held', bad
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION job_guard IS 'States follow legal steps, a leaf that a job names is its own and stays, a terminal job holds no quota';
