-- 0027 - that a job was submitted is said by its own row; event is a view of both.
-- SPDX-License-Identifier: GPL-3.0-or-later
-- A row of its own with a key, two indexes and a statement was a tenth of the writer's time for a batch of submissions,
-- and said nothing that the job's row does not. Submissions of before stay rows of event_row.

ALTER TABLE event RENAME TO event_row;
COMMENT ON TABLE event_row IS 'What happened and who did it, but for submissions; only grows; its key lets it become a partition by seq as it is';
COMMENT ON COLUMN event_row.subject IS 'About what: a job''s number (its name in rows of before), a person, an account, a node';

ALTER TABLE job ADD COLUMN submit_seq bigint, ADD COLUMN submit_ord integer;
COMMENT ON COLUMN job.submit_seq IS 'The batch (core_head.seq) that submitted it; NULL: event_row says it';
COMMENT ON COLUMN job.submit_ord IS 'The place of its submission among the batch''s events';
CREATE INDEX job_submission ON job (submit_seq, submit_ord);
DROP TRIGGER job_fixed ON job;
CREATE TRIGGER job_fixed BEFORE UPDATE OF id, number, body_sha256, person, project, nation, name,
    kind, class_name, accelerators, per_node, level, level_required, walltime_s, grace_s, signal,
    requeue, max_attempts, tier, gflop, gflop_lineage, purpose, after_job, spec_salt, spec_commit,
    after_ok, submit_us, embargo_days, rules, policy, spec, array_of, array_task, min_accelerators,
    singleton, memory_gb, bandwidth_gb, reservation, datasets, submit_seq, submit_ord ON job
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();

CREATE VIEW submission AS
SELECT j.submit_seq AS seq, j.submit_ord AS ord, j.submit_us AS at_us, 'submit' AS kind,
    (SELECT n.code || '/' || w.login FROM person w JOIN nation n ON n.id = w.nation WHERE w.id = j.person) AS actor,
    j.number::text AS subject, '{}' AS body, j.number
FROM job j WHERE j.submit_seq IS NOT NULL;
COMMENT ON VIEW submission IS 'The events that are rows of job';

CREATE VIEW event AS
SELECT seq, ord, at_us, kind, actor, subject, body FROM event_row
UNION ALL
SELECT seq, ord, at_us, kind, actor, subject, body FROM submission;
COMMENT ON VIEW event IS 'What happened and who did it, for audit and cursors: one row an event, its key (seq, ord)';
GRANT SELECT ON submission, event TO beamtime_read;
