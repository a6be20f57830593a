-- 0021 - how much memory accelerators have, and what jobs ask of it and of bandwidth.
-- SPDX-License-Identifier: GPL-3.0-or-later

ALTER TABLE node ADD COLUMN memory_gb integer CHECK (memory_gb BETWEEN 1 AND 65535);
COMMENT ON COLUMN node.memory_gb IS 'Memory of each of its accelerators, 10^9 bytes; NULL: not told';
ALTER TABLE job ADD COLUMN memory_gb integer CHECK (memory_gb BETWEEN 1 AND 65535);
ALTER TABLE job ADD COLUMN bandwidth_gb integer CHECK (bandwidth_gb BETWEEN 1 AND 65535);
COMMENT ON COLUMN job.memory_gb IS 'It runs on accelerators with so much memory or more, 10^9 bytes; NULL: any';
COMMENT ON COLUMN job.bandwidth_gb IS 'It runs on nodes measured at so much or more, 10^9 bytes/s; NULL: any';

DROP TRIGGER job_fixed ON job;
CREATE TRIGGER job_fixed BEFORE UPDATE OF id, number, body_sha256, person, project, nation, name,
    kind, class_name, accelerators, per_node, level, level_required, walltime_s, grace_s, signal,
    requeue, max_attempts, tier, gflop, gflop_lineage, purpose, after_job, spec_salt, spec_commit,
    after_ok, submit_us, embargo_days, rules, policy, spec, array_of, array_task, min_accelerators,
    singleton, memory_gb, bandwidth_gb ON job
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
        'array', j.array_of, 'task', j.array_task) AS brief
FROM job j JOIN nation n ON n.id = j.nation JOIN project p ON p.id = j.project
JOIN person w ON w.id = j.person;
COMMENT ON VIEW job_read IS 'Jobs as the API shows them; start_at and waits_for are the plan''s, which only the daemon''s memory has';
