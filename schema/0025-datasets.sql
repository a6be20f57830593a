-- 0025 - data sets that sites hold, and the jobs that run only where theirs are.
-- SPDX-License-Identifier: GPL-3.0-or-later

CREATE TABLE dataset (
    id integer PRIMARY KEY CHECK (id > 0),
    site integer NOT NULL REFERENCES site,
    name text CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    path text CHECK (path ~ '^/[A-Za-z0-9/._+=@,-]{0,254}$' AND path !~ '/\.\.(/|$)'),
    sha256 bytea CHECK (length(sha256) = 32),
    bytes bigint CHECK (bytes > 0),
    since_us bigint,
    CHECK ((name IS NULL) = (path IS NULL) AND (name IS NULL) = (since_us IS NULL)),
    CHECK (name IS NOT NULL OR (sha256 IS NULL AND bytes IS NULL)),
    UNIQUE (site, name) DEFERRABLE INITIALLY DEFERRED
);
COMMENT ON TABLE dataset IS 'What sites say they hold; a row without a name is a place for the site''s next one';
COMMENT ON COLUMN dataset.id IS 'Dense, from 1';
COMMENT ON COLUMN dataset.site IS 'Where it lies';
COMMENT ON COLUMN dataset.name IS 'By which jobs ask for it; NULL: taken back';
COMMENT ON COLUMN dataset.path IS 'Where it lies there';
COMMENT ON COLUMN dataset.sha256 IS 'Digest of its manifest: what bears one name at two sites agrees; NULL: not told';
COMMENT ON COLUMN dataset.bytes IS 'Its size; NULL: not told';
COMMENT ON COLUMN dataset.since_us IS 'When it was declared so, microseconds since the epoch';
GRANT SELECT ON dataset TO beamtime_read;

CREATE VIEW public_dataset AS
SELECT s.name AS site, d.name, encode(d.sha256, 'hex') AS sha256, d.bytes
FROM dataset d JOIN site s ON s.id = d.site
WHERE d.name IS NOT NULL AND s.state <> 'removed';
COMMENT ON VIEW public_dataset IS 'Data sets without their paths: for the public pages';
GRANT SELECT ON public_dataset TO beamtime_public, beamtime_read;

ALTER TABLE job ADD COLUMN datasets text
    CHECK (datasets ~ '^[a-z0-9][a-z0-9._-]{0,62}( [a-z0-9][a-z0-9._-]{0,62}){0,7}$');
COMMENT ON COLUMN job.datasets IS 'It runs only at a site that holds all of these: names, sorted, a space between; NULL: at any';
ALTER TABLE attempt ADD COLUMN datasets text;
COMMENT ON COLUMN attempt.datasets IS 'Where the job''s data lay at its site when it started: JSON, name, path and digest of each; NULL: it asked for none';

DROP TRIGGER job_fixed ON job;
CREATE TRIGGER job_fixed BEFORE UPDATE OF id, number, body_sha256, person, project, nation, name,
    kind, class_name, accelerators, per_node, level, level_required, walltime_s, grace_s, signal,
    requeue, max_attempts, tier, gflop, gflop_lineage, purpose, after_job, spec_salt, spec_commit,
    after_ok, submit_us, embargo_days, rules, policy, spec, array_of, array_task, min_accelerators,
    singleton, memory_gb, bandwidth_gb, reservation, datasets ON job
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
        'reservation', (SELECT o.name FROM outage o WHERE o.id = j.reservation),
        'datasets', string_to_array(j.datasets, ' ')) AS brief
FROM job j JOIN nation n ON n.id = j.nation JOIN project p ON p.id = j.project
JOIN person w ON w.id = j.person;
COMMENT ON VIEW job_read IS 'Jobs as the API shows them; start_at and waits_for are the plan''s, which only the daemon''s memory has';
