-- 0022 - nodes kept for the jobs of a project or a nation.
-- SPDX-License-Identifier: GPL-3.0-or-later

ALTER TABLE outage ADD COLUMN name text;
ALTER TABLE outage ADD COLUMN nation integer REFERENCES nation;
ALTER TABLE outage ADD COLUMN project integer REFERENCES project;
ALTER TABLE outage ADD CONSTRAINT outage_for
    CHECK (name IS NULL AND nation IS NULL AND project IS NULL
           OR name IS NOT NULL AND nation IS NOT NULL AND kind = 'reservation');
COMMENT ON COLUMN outage.name IS 'By which jobs ask for it; NULL: it is for no job';
COMMENT ON COLUMN outage.nation IS 'Whose jobs may name it';
COMMENT ON COLUMN outage.project IS 'Only jobs of this project may; NULL: of any of the nation';
ALTER TABLE job ADD COLUMN reservation integer;
COMMENT ON COLUMN job.reservation IS 'It runs inside this one while it could end there in time; NULL: it asked for none';
CREATE INDEX job_reservation ON job (reservation) WHERE reservation IS NOT NULL;

DROP TRIGGER job_fixed ON job;
CREATE TRIGGER job_fixed BEFORE UPDATE OF id, number, body_sha256, person, project, nation, name,
    kind, class_name, accelerators, per_node, level, level_required, walltime_s, grace_s, signal,
    requeue, max_attempts, tier, gflop, gflop_lineage, purpose, after_job, spec_salt, spec_commit,
    after_ok, submit_us, embargo_days, rules, policy, spec, array_of, array_task, min_accelerators,
    singleton, memory_gb, bandwidth_gb, reservation ON job
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();

CREATE OR REPLACE VIEW job_read AS
SELECT j.id, j.number, j.state, j.nation, j.project, j.person, j.submit_us,
    json_build_object(
        'id', j.id, 'number', j.number, 'name', j.name,
        'kind', (ARRAY['script', 'train', 'coll', 'command'])[j.kind + 1],
        'nation', n.code, 'project', p.name, 'person', w.login,
        'state', j.state, 'reason', j.reason, 'tier', j.tier,
        'accelerators', j.accelerators, 'min_accelerators', j.min_accelerators,
        'memory_gb', j.memory_gb, 'bandwidth_gb_per_s', j.bandwidth_gb,
        'class', nullif(j.class_name, ''), 'walltime_s', j.walltime_s,
        'submitted_at', rfc3339(j.submit_us), 'started_at', rfc3339(j.start_us),
        'ended_at', rfc3339(j.end_us), 'start_at', NULL, 'promise_at', rfc3339(j.promise_us),
        'waits_for', NULL,
        'charged_mras', j.charged_mras::text, 'hold_mras', j.hold_mras::text,
        'exit_code', j.exit_code, 'signal', nullif(j.end_signal, 0), 'outcome', j.outcome,
        'record', j.record_idx, 'attempt', j.attempt,
        'array', j.array_of, 'task', j.array_task,
        'reservation', (SELECT o.name FROM outage o WHERE o.id = j.reservation)) AS brief
FROM job j JOIN nation n ON n.id = j.nation JOIN project p ON p.id = j.project
JOIN person w ON w.id = j.person;
COMMENT ON VIEW job_read IS 'Jobs as the API shows them; start_at and waits_for are the plan''s, which only the daemon''s memory has';

-- a foreign key would fire once a row, 4 us of every submission (0015)
CREATE OR REPLACE FUNCTION job_begins() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    late boolean;
    stray boolean;
BEGIN
    SELECT bool_or(f.late),
           bool_or(NOT EXISTS (SELECT FROM project p WHERE p.id = f.project AND p.nation = f.nation)
                   OR NOT EXISTS (SELECT FROM person q WHERE q.id = f.person)
                   OR (f.reservation IS NOT NULL AND NOT EXISTS (
                       SELECT FROM outage o WHERE o.id = f.reservation)))
    INTO late, stray
    FROM (SELECT person, project, nation, reservation,
                 bool_or(state NOT IN ('held', 'queued') OR submit_idx IS NOT NULL
                         OR result_idx IS NOT NULL) AS late
          FROM fresh GROUP BY person, project, nation, reservation) f;
    IF late THEN
        RAISE EXCEPTION 'a new job is held or queued' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF stray THEN
        RAISE EXCEPTION 'a job names no person, no reservation, or a project that is not of its nation'
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER outage_stays BEFORE DELETE OR TRUNCATE ON outage
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();
