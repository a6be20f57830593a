-- 0028 - what a job was promised last is read from its promises, not kept in its row as well.
-- SPDX-License-Identifier: GPL-3.0-or-later
-- A plan of a long queue promises 1,000 starts at once, and each rewrote the job's row: most pages have room for two
-- such rewrites of their six jobs, the others go to other pages and into every index again.

ALTER TABLE promise ADD COLUMN attempt integer;
COMMENT ON COLUMN promise.attempt IS 'The attempt whose start was promised';

ALTER TABLE promise DISABLE TRIGGER promise_grows;
-- given after the attempt before was wanted
UPDATE promise p SET attempt = 1 + (SELECT count(*) FROM attempt a WHERE a.job = p.job AND a.wanted_us < p.given_us);
-- where that and the job's row differ, the row is right
UPDATE promise p SET attempt = j.attempt - 1
FROM job j WHERE j.id = p.job AND p.attempt >= j.attempt AND j.promise_us IS NULL;
UPDATE promise p SET attempt = j.attempt
FROM job j WHERE j.id = p.job AND p.start_by_us = j.promise_us
    AND p.given_us = (SELECT max(q.given_us) FROM promise q WHERE q.job = j.id);
ALTER TABLE promise ENABLE TRIGGER promise_grows;

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
        'ended_at', rfc3339(j.end_us), 'start_at', NULL,
        'promise_at', (SELECT rfc3339(q.start_by_us) FROM promise q WHERE q.job = j.id AND q.attempt = j.attempt
            ORDER BY q.given_us DESC LIMIT 1),
        'waits_for', NULL,
        'charged_mras', j.charged_mras::text, 'hold_mras', j.hold_mras::text,
        'exit_code', j.exit_code, 'signal', nullif(j.end_signal, 0), 'outcome', j.outcome,
        'record', j.record_idx, 'attempt', j.attempt,
        'array', j.array_of, 'task', j.array_task,
        'reservation', (SELECT o.name FROM outage o WHERE o.id = j.reservation),
        'datasets', string_to_array(j.datasets, ' ')) AS brief
FROM job j JOIN nation n ON n.id = j.nation JOIN project p ON p.id = j.project
JOIN person w ON w.id = j.person;
ALTER TABLE job DROP COLUMN promise_us;
