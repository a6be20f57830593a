-- read.sql - what people ask: each statement gives one row with one JSON text.
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Parameters are texts, NULL for absent ones. Lists end with "next", the cursor of what follows,
-- or null. json_build_object writes ' : ' with blanks; the daemon compacts nothing.

-- name: job_id
SELECT id::text FROM job
WHERE id = CASE WHEN length($1) = 36 THEN $1::uuid END
   OR number = CASE WHEN length($1) < 19 THEN $1::bigint END
-- name: job_state
SELECT to_json(state)::text FROM job
WHERE id = CASE WHEN length($1) = 36 THEN $1::uuid END
   OR number = CASE WHEN length($1) < 19 THEN $1::bigint END
-- name: job_brief
SELECT brief::text FROM job_read
WHERE id = CASE WHEN length($1) = 36 THEN $1::uuid END
   OR number = CASE WHEN length($1) < 19 THEN $1::bigint END
-- name: job
SELECT (r.brief::jsonb || jsonb_build_object(
    'rules', string_to_array(nullif(j.rules, ''), ' '),
    'result_due_at', rfc3339(j.result_due_us), 'result', j.result_idx, 'verdict', j.verdict,
    'spec', j.spec::jsonb,
    'attempts', coalesce((SELECT jsonb_agg(jsonb_build_object('n', a.n, 'state', a.state,
        'node', d.name, 'accelerators', coalesce(a.accelerators, j.accelerators), 'wanted_at', rfc3339(a.wanted_us), 'claimed_at', rfc3339(a.claimed_us),
        'tried_at', rfc3339(a.trial_us), 'started_at', rfc3339(a.started_us), 'ended_at', rfc3339(a.ended_us),
        'reason', a.reason, 'exit_code', a.exit_code, 'signal', nullif(a.signal, 0),
        'datasets', a.datasets::json)
        ORDER BY a.n) FROM attempt a LEFT JOIN node d ON d.id = a.node WHERE a.job = j.id), '[]'),
    'promises', coalesce((SELECT jsonb_agg(jsonb_build_object('given_at', rfc3339(q.given_us),
        'start_by', rfc3339(q.start_by_us), 'cause', lower(split_part(q.cause, ' ', 1)),
        'text', nullif(substr(q.cause, strpos(q.cause || ' ', ' ') + 1), '')) ORDER BY q.given_us)
        FROM promise q WHERE q.job = j.id), '[]')))::text
FROM job_read r JOIN job j ON j.id = r.id
WHERE r.id = CASE WHEN length($1) = 36 THEN $1::uuid END
   OR r.number = CASE WHEN length($1) < 19 THEN $1::bigint END
-- name: job_spec
SELECT spec::text FROM job WHERE id = $1::uuid
-- name: job_log
-- where a log lies: the job and the attempt that is meant (the present one if not said)
SELECT json_build_object('id', j.id, 'nation', (SELECT code FROM nation WHERE id = j.nation),
    'attempt', coalesce($2::integer, j.attempt),
    'open', j.state NOT IN ('completed', 'failed', 'cancelled', 'timeout')
        AND coalesce($2::integer, j.attempt) = j.attempt)::text
FROM job j
WHERE j.id = CASE WHEN length($1) = 36 THEN $1::uuid END
   OR j.number = CASE WHEN length($1) < 19 THEN $1::bigint END
-- name: jobs
-- state, nation, project, person id, cursor = number below which, limit
WITH page AS (
    SELECT r.number, r.brief FROM job_read r
    WHERE ($1::text IS NULL OR r.state = ANY (string_to_array($1, ',')))
      AND ($2::text IS NULL OR r.nation = (SELECT id FROM nation WHERE code = $2))
      AND ($3::text IS NULL OR r.project IN (SELECT p.id FROM project p
          JOIN nation n ON n.id = p.nation WHERE $3 IN (p.name, n.code || '/' || p.name)))
      AND ($4::integer IS NULL OR r.person = $4::integer)
      AND ($5::bigint IS NULL OR r.number < $5::bigint)
    ORDER BY r.number DESC LIMIT $6::integer + 1
), cut AS (SELECT number, brief FROM page ORDER BY number DESC LIMIT $6::integer)
SELECT json_build_object('items', coalesce((SELECT json_agg(brief ORDER BY number DESC) FROM cut),
    '[]'), 'next', CASE WHEN (SELECT count(*) FROM page) > $6::integer
    THEN (SELECT min(number)::text FROM cut) END)::text
-- name: quota
SELECT json_build_object('items', coalesce(json_agg(json_build_object('level', a.level,
    'nation', n.code, 'project', p.name, 'person', w.login,
    'granted_mras', a.granted::text, 'free_mras', a.free::text, 'held_mras', a.held::text,
    'spent_mras', a.spent::text, 'capped', a.overdraft = 0,
    'from', rfc3339(a.from_us), 'until', rfc3339(a.until_us))
    ORDER BY n.code, p.name NULLS FIRST, w.login NULLS FIRST), '[]'), 'next', NULL)::text
FROM account a JOIN nation n ON n.id = a.nation LEFT JOIN project p ON p.id = a.project
LEFT JOIN person w ON w.id = a.person
WHERE ($1::text IS NULL OR n.code = $1)
  AND ($2::text IS NULL OR $2 IN (p.name, n.code || '/' || p.name))
-- name: nations
SELECT json_build_object('items', coalesce(json_agg(json_build_object('nation', code,
    'name', name, 'state', state) ORDER BY code), '[]'), 'next', NULL)::text FROM nation
-- name: institutions
SELECT json_build_object('items', coalesce(json_agg(json_build_object('nation', n.code,
    'institution', i.name, 'tier', i.tier, 'until', rfc3339(i.tier_until_us))
    ORDER BY n.code, i.name), '[]'), 'next', NULL)::text
FROM institution i JOIN nation n ON n.id = i.nation WHERE $1::text IS NULL OR n.code = $1
-- name: projects
SELECT json_build_object('items', coalesce(json_agg(json_build_object('nation', n.code,
    'project', p.name, 'title', p.title, 'tier', p.tier, 'until', rfc3339(p.tier_until_us),
    'state', p.state, 'members', coalesce((SELECT json_agg(json_build_object('nation', wn.code,
        'person', w.login, 'role', m.role) ORDER BY wn.code, w.login)
        FROM member m JOIN person w ON w.id = m.person JOIN nation wn ON wn.id = w.nation
        WHERE m.project = p.id AND m.role <> 'none'), '[]'))
    ORDER BY n.code, p.name), '[]'), 'next', NULL)::text
FROM project p JOIN nation n ON n.id = p.nation WHERE $1::text IS NULL OR n.code = $1
-- name: people
SELECT json_build_object('items', coalesce(json_agg(json_build_object('nation', n.code,
    'person', w.login, 'name', w.name, 'institution', i.name, 'roles', array_remove(ARRAY[
        CASE WHEN w.roles & 1 <> 0 THEN 'researcher' END, CASE WHEN w.roles & 2 <> 0 THEN 'lead' END,
        CASE WHEN w.roles & 4 <> 0 THEN 'nation_admin' END,
        CASE WHEN w.roles & 8 <> 0 THEN 'operator' END, CASE WHEN w.roles & 16 <> 0 THEN 'council' END,
        CASE WHEN w.roles & 32 <> 0 THEN 'reviewer' END], NULL),
    'tier', w.tier, 'tier_until', rfc3339(w.tier_until_us), 'state', w.state)
    ORDER BY n.code, w.login), '[]'), 'next', NULL)::text
FROM person w JOIN nation n ON n.id = w.nation LEFT JOIN institution i ON i.id = w.institution
WHERE $1::text IS NULL OR n.code = $1
-- name: whoami
SELECT json_build_object('tier', w.tier, 'tier_until', rfc3339(w.tier_until_us), 'name', w.name,
    'institution', i.name, 'projects', coalesce((SELECT json_agg(json_build_object(
        'name', n.code || '/' || p.name, 'role', m.role) ORDER BY n.code, p.name)
        FROM member m JOIN project p ON p.id = m.project JOIN nation n ON n.id = p.nation
        WHERE m.person = w.id AND m.role <> 'none'), '[]'))::text
FROM person w LEFT JOIN institution i ON i.id = w.institution WHERE w.id = $1::integer
-- name: nodes
-- name, states, cursor = name after which, limit
WITH page AS (
    SELECT d.*, s.name AS site_name, CASE WHEN s.tier_until_us > extract(epoch FROM now()) * 1000000 THEN s.tier ELSE 0 END
        AS site_tier FROM node d LEFT JOIN site s ON s.id = d.site
    WHERE ($1::text IS NULL OR d.name = $1)
      AND ($2::text IS NULL OR d.state = ANY (string_to_array($2, ',')))
      AND ($3::text IS NULL OR d.name > $3)
    ORDER BY d.name LIMIT $4::integer + 1
), cut AS (SELECT * FROM page ORDER BY name LIMIT $4::integer)
SELECT json_build_object('items', coalesce(json_agg(json_build_object('node', d.name,
    'site', d.site_name, 'class', d.class_name, 'accelerators', d.n_acc,
    'busy', length(replace((d.busy)::bit(64)::text, '0', '')), 'state', d.state,
    'reason', nullif(d.reason, '-'), 'until', rfc3339(d.until_us), 'tier', least(d.tier, d.site_tier),
    'memory_gb', d.memory_gb, 'busbw_mb_per_s', d.busbw_mbs, 'measured_at', rfc3339(d.measured_us),
    'measure_asked_at', rfc3339(d.measure_us), 'pod', d.pod, 'leaf', d.leaf,
    'leaf_switch', d.leaf_switch, 'pod_switch', d.pod_switch,
    'pairs', CASE WHEN $1::text IS NOT NULL THEN (SELECT json_agg(json_build_object('leaf',
        p.leaf_a + p.leaf_b - d.leaf, 'busbw_mb_per_s', p.busbw_mbs, 'state', p.state,
        'measured_at', rfc3339(p.measured_us), 'nodes', json_build_array(p.node_a, p.node_b))
        ORDER BY p.leaf_a, p.leaf_b) FROM switch_pair p WHERE p.site = d.site
        AND p.class_name = d.class_name AND d.leaf IN (p.leaf_a, p.leaf_b)) END, 'inventory', d.inventory::json)
    ORDER BY d.name), '[]'),
    'next', CASE WHEN (SELECT count(*) FROM page) > $4::integer THEN max(d.name) END)::text
FROM cut d
-- name: sites
SELECT json_build_object('items', coalesce(json_agg(json_build_object('site', s.name, 'kind', s.kind,
    'tier', s.tier, 'until', rfc3339(s.tier_until_us), 'state', s.state, 'nodes', d.n,
    'accelerators', d.acc, 'up', d.up) ORDER BY s.id), '[]'), 'next', NULL)::text
FROM site s CROSS JOIN LATERAL (SELECT count(*) AS n, coalesce(sum(n_acc), 0) AS acc,
    count(*) FILTER (WHERE state = 'up') AS up FROM node WHERE site = s.id) d
WHERE s.state <> 'removed' AND (coalesce($1::integer, 0) = 0
    OR (s.tier >= $1::integer AND s.tier_until_us > extract(epoch FROM now()) * 1000000))
-- name: site
SELECT json_build_object('kind', s.kind, 'tier', s.tier, 'until', rfc3339(s.tier_until_us),
    'state', s.state, 'conf', s.conf::json, 'running', (SELECT count(*) FROM attempt a
        JOIN job j ON j.id = a.job AND j.attempt = a.n
        WHERE a.site = s.id AND a.ended_us IS NULL),
    'nodes', coalesce((SELECT json_agg(json_build_object('node', d.name, 'class', d.class_name,
        'accelerators', d.n_acc, 'state', d.state, 'reason', nullif(d.reason, '-'),
        'leaf_switch', d.leaf_switch, 'pod_switch', d.pod_switch, 'agent_leaf', d.agent_leaf,
        'agent_pod', d.agent_pod, 'registered', coalesce(d.inventory, '{}') <> '{}') ORDER BY d.name)
        FROM node d WHERE d.site = s.id), '[]'), 'pairs', coalesce((SELECT json_agg(
        json_build_object('class', p.class_name, 'leaf_a', p.leaf_a, 'leaf_b', p.leaf_b,
            'busbw_mb_per_s', p.busbw_mbs, 'state', p.state, 'measured_at', rfc3339(p.measured_us),
            'nodes', json_build_array(p.node_a, p.node_b)) ORDER BY p.state DESC, p.busbw_mbs)
        FROM (SELECT * FROM switch_pair WHERE site = s.id ORDER BY state DESC, busbw_mbs LIMIT 1000)
        p), '[]'), 'datasets', coalesce((SELECT json_agg(json_build_object('name', t.name,
        'path', t.path, 'bytes', t.bytes) ORDER BY t.name)
        FROM dataset t WHERE t.site = s.id AND t.name IS NOT NULL), '[]'))::text
FROM site s WHERE s.name = $1::text
-- name: fence
-- What a site's slurmdbd should know: projects that ever had a grant, and the Unix accounts of
-- their members there. The bound is what the unspent grant pays for a minute at the lowest rate of
-- any Slurm site, never less than what runs, and the same at all sites that may share a slurmdbd.
WITH t AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now),
lowest AS (SELECT min(r.rate_milli) AS rate FROM (
    SELECT DISTINCT ON (class_name) class_name, rate_milli FROM rate, t WHERE from_us <= t.now
    ORDER BY class_name, from_us DESC) r
    WHERE r.class_name IN (SELECT d.class_name FROM node d JOIN site s ON s.id = d.site
        WHERE s.kind = 'slurm' AND s.state <> 'removed'))
SELECT coalesce(json_agg(json_build_object('account', 'bt_' || n.code || '_' || p.name,
    'cap', least(1000000000, greatest(live.acc, CASE
        WHEN coalesce(a.from_us, 0) > t.now OR coalesce(a.until_us, t.now + 1) <= t.now THEN 0
        ELSE (a.free + a.held) / greatest(1, coalesce(lowest.rate, 1000) * 60) END)),
    'users', users.list) ORDER BY n.code, p.name), '[]')::text
FROM t, lowest, project p JOIN nation n ON n.id = p.nation
JOIN account a ON a.level = 'project' AND a.project = p.id
CROSS JOIN LATERAL (SELECT coalesce(sum(x.accelerators), 0) AS acc FROM attempt x
    JOIN job j ON j.id = x.job AND j.attempt = x.n
    WHERE j.project = p.id AND j.record_idx IS NULL AND x.ended_us IS NULL) live
CROSS JOIN LATERAL (SELECT coalesce(string_agg(DISTINCT u.unixname, ','), '') AS list
    FROM member m JOIN unixmap u ON u.person = m.person JOIN site s ON s.id = u.site
    WHERE m.project = p.id AND m.role <> 'none' AND s.name = $1::text) users
WHERE a.granted > 0 OR a.spent > 0 OR live.acc > 0
-- name: nodes_by_state
SELECT json_build_object('items', coalesce(json_agg(json_build_object('site', g.site,
    'class', g.class_name, 'state', g.state, 'nodes', g.n, 'accelerators', g.acc, 'busy', g.busy,
    'reason', g.reason, 'names', g.names) ORDER BY g.site, g.class_name, g.state, g.reason), '[]'),
    'next', NULL)::text
FROM (SELECT s.name AS site, d.class_name, d.state, nullif(d.reason, '-') AS reason,
        count(*) AS n, sum(d.n_acc) AS acc,
        sum(length(replace((d.busy)::bit(64)::text, '0', ''))) AS busy,
        json_agg(d.name ORDER BY d.name) AS names
    FROM node d LEFT JOIN site s ON s.id = d.site GROUP BY 1, 2, 3, 4) g
-- name: rates
SELECT json_build_object('items', coalesce(json_agg(json_build_object('class', class_name,
    'from', rfc3339(from_us), 'rate_milli', rate_milli, 'peak_gflops', peak_gflops)
    ORDER BY class_name, from_us), '[]'), 'next', NULL)::text FROM rate
-- name: guarantees
SELECT json_build_object('items', coalesce(json_agg(json_build_object('nation', n.code,
    'accelerators', g.accelerators, 'from', rfc3339(g.from_us),
    'until', rfc3339(nullif(g.until_us, 9223372036854775807))) ORDER BY n.code, g.from_us), '[]'),
    'next', NULL)::text FROM guarantee g JOIN nation n ON n.id = g.nation
-- name: outages
SELECT json_build_object('items', coalesce(json_agg(json_build_object('id', id, 'kind', kind,
    'nodes', nodes, 'reason', nullif(reason, '-'), 'from', rfc3339(from_us),
    'until', rfc3339(until_us)) ORDER BY id), '[]'), 'next', NULL)::text
FROM outage WHERE until_us > extract(epoch FROM clock_timestamp()) * 1000000
-- name: reservations
SELECT json_build_object('items', coalesce(json_agg(json_build_object('name', o.name,
    'for', n.code || coalesce('/' || p.name, ''), 'nation', n.code, 'project', p.name,
    'nodes', o.nodes, 'reason', nullif(o.reason, '-'), 'from', rfc3339(o.from_us),
    'until', rfc3339(o.until_us), 'state', CASE WHEN o.from_us
        <= extract(epoch FROM clock_timestamp()) * 1000000 THEN 'active' ELSE 'planned' END,
    'jobs', (SELECT count(*) FROM job j WHERE j.reservation = o.id AND j.record_idx IS NULL))
    ORDER BY o.from_us, o.id), '[]'), 'next', NULL)::text
FROM outage o JOIN nation n ON n.id = o.nation LEFT JOIN project p ON p.id = o.project
WHERE o.name IS NOT NULL AND o.until_us > extract(epoch FROM clock_timestamp()) * 1000000
-- name: datasets
-- of one site
SELECT json_build_object('items', coalesce(json_agg(json_build_object('name', d.name,
    'site', s.name, 'path', d.path, 'digest', 'sha256:' || encode(d.sha256, 'hex'),
    'variable', 'BEAM_DATASET_' || upper(translate(d.name, '.-', '__')), 'bytes', d.bytes,
    'since', rfc3339(d.since_us)) ORDER BY d.name, s.name), '[]'), 'next', NULL)::text
FROM dataset d JOIN site s ON s.id = d.site
WHERE d.name IS NOT NULL AND s.state <> 'removed' AND ($1::text IS NULL OR s.name = $1::text)
-- name: ledger
-- from index, limit, kind, job id or number, nation
WITH page AS (
    SELECT e.* FROM ledger_entry e
    WHERE e.idx >= coalesce($1::bigint, 0) AND ($3::text IS NULL OR e.kind = $3)
      AND ($4::text IS NULL OR e.job = (SELECT id FROM job
          WHERE id = CASE WHEN length($4) = 36 THEN $4::uuid END
             OR number = CASE WHEN length($4) < 19 THEN $4::bigint END))
      AND ($5::text IS NULL OR e.body::json #>> '{body,nation}' = $5)
    ORDER BY e.idx LIMIT $2::integer + 1
), cut AS (SELECT * FROM page ORDER BY idx LIMIT $2::integer)
SELECT json_build_object('items', coalesce((SELECT json_agg(json_build_object('index', idx,
    'kind', kind, 'job', job, 'leaf_sha256', encode(leaf_sha256, 'hex'), 'body', body::json)
    ORDER BY idx) FROM cut), '[]'), 'next', CASE WHEN (SELECT count(*) FROM page) > $2::integer
    THEN (SELECT (max(idx) + 1)::text FROM cut) END)::text
-- name: ledger_one
SELECT json_build_object('index', idx, 'kind', kind, 'job', job,
    'leaf_sha256', encode(leaf_sha256, 'hex'), 'body', body::json)::text
FROM ledger_entry WHERE idx = $1::bigint
-- name: ledger_leaf
SELECT body FROM ledger_entry WHERE idx = $1::bigint
-- name: attempt_node
SELECT d.name FROM attempt a JOIN node d ON d.id = a.node WHERE a.job = $1::uuid AND a.n = $2::integer
-- name: node_blobs
-- node: its site, where that gives out what its agents keep
SELECT b.site FROM node d JOIN site s ON s.id = d.site JOIN public_blobs b ON b.site = s.name WHERE d.name = $1
-- name: public_blobs
-- names of sites, a line each: the address of the first that has one
SELECT b.url FROM unnest(string_to_array($1::text, E'\n')) WITH ORDINALITY l(site, i)
JOIN public_blobs b ON b.site = l.site ORDER BY l.i LIMIT 1
-- name: public_front
-- The first line is for the next time: up to where entries were counted, and what came out. Entries
-- never change: only those from $1 on are counted, $2 is what was there before.
SELECT size || ' ' || counts || E'\n' || json_build_object('size', size,
    'checkpoint_size', (SELECT coalesce(max(size), 0) FROM checkpoint),
    'counts', counts,
    'records', (SELECT coalesce(json_agg(json_build_object('index', idx, 'leaf', body::json)
        ORDER BY idx DESC), '[]') FROM (SELECT idx, body FROM ledger_entry
        WHERE kind = 'record' ORDER BY idx DESC LIMIT 20) e))::text
FROM ledger_head, (SELECT coalesce(json_object_agg(kind, n), '{}') AS counts FROM (
    SELECT kind, sum(n) AS n FROM (
        SELECT kind::text, count(*) AS n FROM ledger_entry WHERE idx >= $1::bigint GROUP BY 1
        UNION ALL SELECT key, value::bigint FROM json_each_text($2::json)) b GROUP BY kind) k) t
-- name: public_machine
SELECT json_build_object('nodes', coalesce(json_agg(json_build_array(site, pod, leaf, n_acc, all_mask,
    busy, state) ORDER BY site, pod, leaf, id), '[]'), 'datasets', (SELECT coalesce(json_agg(
    json_build_object('site', d.site, 'name', d.name, 'sha256', d.sha256, 'bytes', d.bytes)
    ORDER BY d.name, d.site), '[]') FROM public_dataset d))::text FROM machine
-- name: public_record
SELECT json_build_object('index', e.idx, 'kind', e.kind, 'job', e.job,
    'leaf_sha256', encode(e.leaf_sha256, 'hex'), 'leaf', e.body::json,
    'size', (SELECT size FROM ledger_head),
    'checkpoint_size', (SELECT coalesce(max(size), 0) FROM checkpoint),
    'later', coalesce((SELECT json_agg(json_build_object('index', l.idx, 'kind', l.kind)
        ORDER BY l.idx) FROM ledger_entry l WHERE l.job = e.job
        AND l.kind NOT IN ('submit', 'record')), '[]'))::text
FROM ledger_entry e WHERE e.idx = $1::bigint
-- name: events
-- subject (a job also by its id), after this seq, and this ord of it, limit. Each half is read in the order of its key,
-- one more than wanted, which tells whether there is a next page.
WITH about AS (
    SELECT CASE WHEN $1::text ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        THEN (SELECT number::text FROM job WHERE id = $1::uuid) ELSE $1::text END AS subject
), page AS (
    (SELECT seq, ord, at_us, kind, actor, subject, body FROM event_row
    WHERE ($1::text IS NULL OR subject = (SELECT subject FROM about)) AND (seq, ord) > ($2::bigint, $3::integer)
    ORDER BY seq, ord LIMIT $4::integer + 1)
    UNION ALL
    (SELECT seq, ord, at_us, kind, actor, subject, body FROM submission
    WHERE ($1::text IS NULL OR number = (SELECT CASE WHEN subject ~ '^[0-9]{1,18}$' THEN subject::bigint END FROM about))
      AND (seq, ord) > ($2::bigint, $3::integer)
    ORDER BY seq, ord LIMIT $4::integer + 1)
    ORDER BY seq, ord LIMIT $4::integer + 1
), cut AS (
    SELECT * FROM page ORDER BY seq, ord LIMIT $4::integer
)
SELECT json_build_object('items', coalesce(json_agg(json_build_object('seq', seq, 'ord', ord,
    'at', rfc3339(at_us), 'kind', kind, 'actor', actor, 'subject', subject, 'body', body::json)
    ORDER BY seq, ord), '[]'), 'next', CASE WHEN (SELECT count(*) FROM page) > $4::integer
        THEN (SELECT seq || '.' || ord FROM cut ORDER BY seq DESC, ord DESC LIMIT 1) END)::text
FROM cut
-- name: policy_text
SELECT json_build_object('digest', encode(digest, 'hex'), 'at', rfc3339(at_us), 'text', text)::text
FROM policy ORDER BY at_us DESC LIMIT 1
-- name: status
-- The first line as in public_front: terminal jobs, which never change, by their records' indexes.
SELECT size || ' ' || ended || E'\n' || json_build_object('jobs', (
        SELECT coalesce(json_object_agg(state, n), '{}') FROM (
            SELECT state::text, count(*) AS n FROM job WHERE record_idx IS NULL GROUP BY 1
            UNION ALL SELECT key, value::bigint FROM json_each_text(ended)) j),
    'nodes', (SELECT coalesce(json_object_agg(state, n), '{}') FROM (
        SELECT state, count(*) AS n FROM node GROUP BY state) d),
    'down', (SELECT coalesce(json_agg(json_build_object('node', name, 'state', state,
        'reason', reason)), '[]') FROM node WHERE state <> 'up'),
    'ledger', json_build_object('size', size,
        'checkpoint_size', (SELECT coalesce(max(size), 0) FROM checkpoint)))::text
FROM ledger_head, (SELECT coalesce(json_object_agg(state, n), '{}') AS ended FROM (
    SELECT state, sum(n) AS n FROM (
        SELECT j.state::text, count(*) AS n FROM ledger_entry e JOIN job j ON j.id = e.job
            WHERE e.idx >= $1::bigint AND e.kind = 'record' GROUP BY 1
        UNION ALL SELECT key, value::bigint FROM json_each_text($2::json)) b GROUP BY state) k) t

-- name: report_fairness
-- from, until (microseconds); lent is what a nation's own jobs left of what it was entitled to
SELECT json_build_object('since', rfc3339($1::bigint), 'until', rfc3339($2::bigint),
    'items', coalesce(json_agg(json_build_object('nation', nation, 'jobs', jobs,
        'entitled_acc_s', entitled, 'used_acc_s', used, 'owned_acc_s', owned,
        'lent_acc_s', greatest(entitled - owned, 0), 'borrowed_acc_s', used - owned)
        ORDER BY nation), '[]'), 'next', NULL)::text
FROM report_fairness($1::bigint, $2::bigint)
-- name: report_promises
-- from, until (microseconds). kept: started no later than first promised; moved: later, but no later
-- than promised last, for its cause; broken: later than that. plan_error_s: mean distance of the start
-- from the first plan.
WITH s AS (SELECT *, CASE WHEN first_by_us IS NULL THEN 'at_once'
        WHEN wanted_us <= first_by_us THEN 'kept' WHEN wanted_us <= last_by_us THEN 'moved'
        ELSE 'broken' END AS how
    FROM report_starts($1::bigint, $2::bigint)),
n AS (SELECT count(*) AS starts, count(*) FILTER (WHERE how = 'at_once') AS at_once,
        count(*) FILTER (WHERE how = 'kept') AS kept, count(*) FILTER (WHERE how = 'moved') AS moved,
        count(*) FILTER (WHERE how = 'broken') AS broken, (avg(abs(wanted_us - plan_us))
            FILTER (WHERE first_by_us IS NOT NULL) / 1000000)::bigint AS plan_error_s FROM s)
SELECT json_build_object('since', rfc3339($1::bigint), 'until', rfc3339($2::bigint),
    'starts', n.starts, 'at_once', n.at_once, 'promised', n.starts - n.at_once, 'kept', n.kept,
    'moved', n.moved, 'broken', n.broken, 'kept_percent',
    round(100.0 * n.kept / nullif(n.kept + n.broken, 0), 2), 'plan_error_s', n.plan_error_s,
    'causes', coalesce((SELECT json_agg(json_build_object('cause', cause, 'starts', c) ORDER BY c DESC,
        cause) FROM (SELECT coalesce(cause, '?') AS cause, count(*) AS c FROM s WHERE how = 'moved'
        GROUP BY 1) g), '[]'))::text
FROM n
-- name: problems
-- What is wrong now, the gravest first, each with the next command. $1: entries under a signed checkpoint.
WITH t AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now),
found AS (
    SELECT 1 AS rank, format('site %s is %s', name, state) AS text,
        format('beamtime site show %s', name) AS next
    FROM site WHERE state NOT IN ('up', 'removed')
    UNION ALL
    SELECT 2, format('%s of %s nodes of pod %s at %s are %s (leaf %s): %s accelerators%s', n, total,
        coalesce(pod_switch, pod::text), site, state, leaves, acc, ', ' || reason), format('beamtime %s', CASE
        WHEN reason LIKE 'slurm: %' THEN 'site diff ' || site WHEN n > 1 THEN 'node summary'
        WHEN state = 'down' THEN 'node show ' || one ELSE 'node resume ' || one END)
    FROM (SELECT s.name AS site, d.pod, d.pod_switch, d.state, nullif(d.reason, '-') AS reason, count(*) AS n,
            sum(d.n_acc) AS acc, min(d.name) AS one,
            string_agg(DISTINCT coalesce(d.leaf_switch, d.leaf::text), ', ') AS leaves, (SELECT count(*) FROM node o
                WHERE o.site = d.site AND o.pod = d.pod) AS total
        FROM node d JOIN site s ON s.id = d.site WHERE d.state <> 'up' AND s.state <> 'removed'
        GROUP BY s.name, d.site, d.pod, d.pod_switch, d.state, d.reason) g
    UNION ALL
    SELECT 2, format('leaf switches %s and %s at %s are slow: %s GB/s between their %s nodes (%s, %s)',
        coalesce((SELECT min(leaf_switch) FROM node WHERE site = s.id AND leaf = p.leaf_a),
            p.leaf_a::text), coalesce((SELECT min(leaf_switch) FROM node WHERE site = s.id
            AND leaf = p.leaf_b), p.leaf_b::text), s.name, round(p.busbw_mbs / 1000.0, 2), p.class_name, p.node_a, p.node_b),
        format('beamtime site show %s', s.name)
    FROM switch_pair p JOIN site s ON s.id = p.site WHERE p.state = 'slow' AND s.state <> 'removed'
    UNION ALL
    SELECT 3, format('%s jobs run on nodes that are not heard of', count(*)),
        format('beamtime result %s', min(j.number))
    FROM attempt a JOIN job j ON j.id = a.job AND j.attempt = a.n
    WHERE a.state = 'unreachable' HAVING count(*) > 0
    UNION ALL
    SELECT 4, format('%s jobs wait beyond their promise', count(*)),
        format('beamtime explain %s', min(number))
    FROM job j, t WHERE record_idx IS NULL AND state = 'queued' AND (SELECT q.start_by_us FROM promise q
        WHERE q.job = j.id AND q.attempt = j.attempt ORDER BY q.given_us DESC LIMIT 1) < t.now
    HAVING count(*) > 0
    UNION ALL
    SELECT 5, format('%s promises moved in the last day: %s', count(*), p.cause),
        format('beamtime job show %s', max(j.number))
    FROM promise p JOIN job j ON j.id = p.job, t
    WHERE p.given_us > t.now - 86400000000 AND p.cause NOT IN ('first', 'again') GROUP BY p.cause
    UNION ALL
    SELECT 6, format('%s ledger entries wait for a signed checkpoint, the oldest since %s',
        count(*), rfc3339(min(at_us))), 'beamtime ledger verify'
    FROM ledger_entry, t WHERE idx >= $1::bigint
    HAVING min(at_us) < max(t.now) - 120000000
    UNION ALL
    SELECT 7, format('%s results of %s/%s are overdue, the oldest since %s', count(*), n.code, p.name,
        rfc3339(min(j.result_due_us))), format('beamtime job show %s', min(j.number))
    FROM job j JOIN project p ON p.id = j.project JOIN nation n ON n.id = p.nation, t
    WHERE j.result_due_us < t.now AND j.result_idx IS NULL AND j.record_idx IS NOT NULL
    GROUP BY n.code, p.name)
SELECT coalesce(json_agg(json_build_object('text', text, 'next', next) ORDER BY rank, text), '[]')::text
FROM (SELECT * FROM found ORDER BY rank, text LIMIT 100) f

-- The publisher's.
-- name: publish_state
SELECT h.size, h.frontier_size, h.root FROM (SELECT (SELECT size FROM ledger_head) AS size,
    (SELECT max(size) FROM checkpoint) AS frontier_size,
    (SELECT encode(root, 'hex') FROM checkpoint ORDER BY size DESC LIMIT 1) AS root) h
-- name: publish_read
SELECT idx, body FROM ledger_entry WHERE idx >= $1::bigint ORDER BY idx LIMIT $2::integer
-- name: publish_save
INSERT INTO checkpoint (size, root, frontier)
SELECT $1::bigint, decode($2, 'hex'), decode($3, 'hex')
WHERE (SELECT epoch FROM core_head) = $4::bigint
ON CONFLICT (size) DO NOTHING
