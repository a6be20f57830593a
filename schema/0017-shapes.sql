-- 0017 - arrays of jobs, sizes chosen at start, one job of a name at a time.
-- SPDX-License-Identifier: GPL-3.0-or-later

ALTER TABLE job ADD COLUMN array_of uuid;
ALTER TABLE job ADD COLUMN array_task integer CHECK (array_task >= 0);
ALTER TABLE job ADD COLUMN min_accelerators integer CHECK (min_accelerators >= 1 AND min_accelerators <= accelerators);
ALTER TABLE job ADD COLUMN singleton integer;
ALTER TABLE job ADD CONSTRAINT job_array CHECK ((array_of IS NULL) = (array_task IS NULL));
COMMENT ON COLUMN job.array_of IS 'The array that it is a task of: the id of the request that made them all';
COMMENT ON COLUMN job.array_task IS 'Which task of it';
COMMENT ON COLUMN job.min_accelerators IS 'It may start with so many or more, up to accelerators; NULL: with accelerators alone';
COMMENT ON COLUMN job.singleton IS '1: starts when no earlier job of its person and name is left';
ALTER TABLE attempt ADD COLUMN accelerators integer CHECK (accelerators >= 1);
COMMENT ON COLUMN attempt.accelerators IS 'How many it was given';
CREATE INDEX job_of_array ON job (array_of) WHERE array_of IS NOT NULL;

DROP TRIGGER job_fixed ON job;
CREATE TRIGGER job_fixed BEFORE UPDATE OF id, number, body_sha256, person, project, nation, name,
    kind, class_name, accelerators, per_node, level, level_required, walltime_s, grace_s, signal,
    requeue, max_attempts, tier, gflop, gflop_lineage, purpose, after_job, spec_salt, spec_commit,
    after_ok, submit_us, embargo_days, rules, policy, spec, array_of, array_task, min_accelerators,
    singleton ON job
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();

CREATE OR REPLACE FUNCTION job_gang_whole() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    PERFORM FROM job j WHERE j.id = NEW.id AND j.state IN ('starting', 'running');
    IF FOUND THEN
        SELECT coalesce(sum(bit_count(a.mask::bit(64))), 0) INTO n FROM alloc a WHERE a.job = NEW.id;
        IF n NOT BETWEEN coalesce(NEW.min_accelerators, NEW.accelerators) AND NEW.accelerators THEN
            RAISE EXCEPTION 'job % starts with % of % accelerators', NEW.id, n, NEW.accelerators
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION job_gang_whole IS 'A job that starts holds as many accelerators as it may start with';

CREATE OR REPLACE VIEW job_read AS
SELECT j.id, j.number, j.state, j.nation, j.project, j.person, j.submit_us,
    json_build_object(
        'id', j.id, 'number', j.number, 'name', j.name,
        'kind', (ARRAY['script', 'train', 'coll', 'command'])[j.kind + 1],
        'nation', n.code, 'project', p.name, 'person', w.login,
        'state', j.state, 'reason', j.reason, 'tier', j.tier,
        'accelerators', j.accelerators, 'min_accelerators', j.min_accelerators,
        'class', nullif(j.class_name, ''), 'walltime_s', j.walltime_s,
        'submitted_at', rfc3339(j.submit_us), 'started_at', rfc3339(j.start_us),
        'ended_at', rfc3339(j.end_us), 'start_at', NULL, 'promise_at', rfc3339(j.promise_us),
        'waits_for', NULL,
        'charged_mras', j.charged_mras::text, 'hold_mras', j.hold_mras::text,
        'exit_code', j.exit_code, 'signal', nullif(j.end_signal, 0), 'outcome', j.outcome,
        'record', j.record_idx, 'attempt', j.attempt,
        'array', j.array_of, 'task', j.array_task) AS brief
FROM job j JOIN nation n ON n.id = j.nation JOIN project p ON p.id = j.project
JOIN person w ON w.id = j.person;
COMMENT ON VIEW job_read IS 'Jobs as the API shows them; start_at and waits_for are the plan''s, which only the daemon''s memory has';
