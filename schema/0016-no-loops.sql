-- 0016 - the guards join a statement's rows before and after by hash, never row by row.
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Their plans are made at the first call of a session and kept. That call often sees one row, for which a nested loop
-- is right; a plan of the queue then changes 1,000 jobs in one statement, and 1,000 x 1,000 comparisons took 332 ms of
-- the one writer.

ALTER FUNCTION attempt_guard() SET enable_nestloop = off;

CREATE OR REPLACE FUNCTION job_guard() RETURNS trigger
LANGUAGE plpgsql SET enable_nestloop = off AS $$
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
    IF named THEN -- leaves that were named before were its own then, and stay
        SELECT x.id INTO bad
        FROM now x
        WHERE (x.record_idx IS NOT NULL AND (SELECT l.job = x.id AND l.kind = 'record'
                  FROM ledger_entry l WHERE l.idx = x.record_idx) IS NOT TRUE)
           OR (x.submit_idx IS NOT NULL AND (SELECT l.job = x.id AND l.kind = 'submit'
                  FROM ledger_entry l WHERE l.idx = x.submit_idx) IS NOT TRUE)
           OR (x.result_idx IS NOT NULL AND (SELECT l.job = x.id AND l.kind = 'result'
                  FROM ledger_entry l WHERE l.idx = x.result_idx) IS NOT TRUE)
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
