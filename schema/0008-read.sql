-- 0008 - how rows look to those who read: times as RFC 3339, amounts as decimal strings.
-- SPDX-License-Identifier: GPL-3.0-or-later

CREATE FUNCTION rfc3339(us bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN us IS NULL OR us <= 0 OR us > 253402300799000000 THEN NULL
    ELSE to_char(timestamp 'epoch' + us * interval '1 microsecond', 'YYYY-MM-DD"T"HH24:MI:SS')
         || CASE WHEN us % 1000000 = 0 THEN ''
            ELSE '.' || lpad((us % 1000000)::text, 6, '0') END || 'Z' END
$$;
COMMENT ON FUNCTION rfc3339 IS 'Microseconds since the epoch as RFC 3339 in UTC; NULL for never and for ever';

CREATE VIEW job_read AS
SELECT j.id, j.number, j.state, j.nation, j.project, j.person, j.submit_us,
    json_build_object(
        'id', j.id, 'number', j.number, 'name', j.name,
        'kind', (ARRAY['script', 'train', 'coll', 'command'])[j.kind + 1],
        'nation', n.code, 'project', p.name, 'person', w.login,
        'state', j.state, 'reason', j.reason, 'tier', j.tier,
        'accelerators', j.accelerators, 'class', nullif(j.class_name, ''),
        'walltime_s', j.walltime_s,
        'submitted_at', rfc3339(j.submit_us), 'started_at', rfc3339(j.start_us),
        'ended_at', rfc3339(j.end_us), 'start_at', NULL, 'promise_at', rfc3339(j.promise_us),
        'waits_for', NULL,
        'charged_mras', j.charged_mras::text, 'hold_mras', j.hold_mras::text,
        'exit_code', j.exit_code, 'signal', nullif(j.end_signal, 0), 'outcome', j.outcome,
        'record', j.record_idx, 'attempt', j.attempt) AS brief
FROM job j JOIN nation n ON n.id = j.nation JOIN project p ON p.id = j.project
JOIN person w ON w.id = j.person;
COMMENT ON VIEW job_read IS 'Jobs as the API shows them; start_at and waits_for are the plan''s, which only the daemon''s memory has';
GRANT SELECT ON job_read TO beamtime_read;
