-- check.sql - the invariants as queries: each row that comes back is a violation, in words.
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- `beamtimed check` runs every check_ statement in one snapshot. tests/checker asks the same
-- from outside, by other means.

-- name: check_balances
SELECT format('account %s does not balance', id) FROM account
WHERE granted <> free + held + spent OR free < -overdraft OR held < 0 OR spent < 0
-- name: check_entries
WITH part AS (
    SELECT nation AS id, d_free, d_held, d_spent FROM entry WHERE nation IS NOT NULL
    UNION ALL SELECT project, d_free, d_held, d_spent FROM entry WHERE project IS NOT NULL
    UNION ALL SELECT person, d_free, d_held, d_spent FROM entry WHERE person IS NOT NULL
), total AS (
    SELECT id, sum(d_free) AS f, sum(d_held) AS h, sum(d_spent) AS s FROM part GROUP BY id
)
SELECT format('account %s is not the sum of its entries', coalesce(a.id, t.id))
FROM account a FULL JOIN total t USING (id)
WHERE a.id IS NULL OR (a.free, a.held, a.spent)
    IS DISTINCT FROM (coalesce(t.f, 0), coalesce(t.h, 0), coalesce(t.s, 0))
-- name: check_holds
SELECT format('job %s holds %s, its entries hold %s', j.number,
    CASE WHEN j.record_idx IS NULL THEN coalesce(j.hold_mras, 0) ELSE 0 END, coalesce(e.held, 0))
FROM job j LEFT JOIN (SELECT op, sum(d_held) AS held FROM entry GROUP BY op) e ON e.op = j.id
WHERE coalesce(e.held, 0)
    <> CASE WHEN j.record_idx IS NULL THEN coalesce(j.hold_mras, 0) ELSE 0 END
-- name: check_allocations
SELECT format('node %s: busy and allocations differ, or two jobs share an accelerator', n.id)
FROM node n LEFT JOIN (
    SELECT node, bit_or(mask) AS mask, sum(bit_count(mask::bit(64))) AS bits
    FROM alloc GROUP BY node) a ON a.node = n.id
WHERE n.busy <> coalesce(a.mask, 0)
   OR coalesce(a.bits, 0) <> bit_count(coalesce(a.mask, 0)::bit(64))
-- name: check_gangs
SELECT format('job %s runs with %s of %s accelerators', j.number, coalesce(a.bits, 0),
    j.accelerators)
FROM job j LEFT JOIN (
    SELECT job, sum(bit_count(mask::bit(64))) AS bits FROM alloc GROUP BY job) a ON a.job = j.id
WHERE j.state IN ('starting', 'running') AND coalesce(a.bits, 0)
    NOT BETWEEN coalesce(j.min_accelerators, j.accelerators) AND j.accelerators
-- name: check_records
SELECT format('job %s is %s and has %s records', j.number, j.state, count(l.idx))
FROM job j LEFT JOIN ledger_entry l ON l.job = j.id AND l.kind = 'record'
GROUP BY j.id
HAVING count(l.idx) <> (j.state IN ('completed', 'failed', 'cancelled', 'timeout'))::integer
    OR max(l.idx) IS DISTINCT FROM j.record_idx
-- name: check_ledger
SELECT format('the ledger has %s leaves up to %s, its head says %s', count(*), max(idx),
    (SELECT size FROM ledger_head))
FROM ledger_entry
HAVING count(*) <> (SELECT size FROM ledger_head) OR coalesce(max(idx) + 1, 0) <> count(*)
-- name: check_leaves
SELECT format('leaf %s has another hash than its body', idx) FROM ledger_entry
WHERE leaf_sha256 <> sha256('\x00'::bytea || convert_to(body, 'UTF8'))
-- name: check_checkpoints
SELECT format('the checkpoint of size %s is ahead of the ledger', size) FROM checkpoint
WHERE size > (SELECT size FROM ledger_head)
-- name: check_attempts
SELECT format('job %s is %s with %s attempts that have not ended', j.number, j.state, count(a.n))
FROM job j LEFT JOIN attempt a ON a.job = j.id AND a.state <> 'ended'
GROUP BY j.id
HAVING count(a.n) > 1 OR (j.record_idx IS NOT NULL AND count(a.n) > 0)
    OR (j.state IN ('starting', 'running') AND count(a.n) <> 1)
-- name: check_clearances
-- open work (tier 0) needs nobody's clearance
SELECT format('job %s was started above a clearance', j.number)
FROM job j JOIN attempt a ON a.job = j.id AND a.n = j.attempt
JOIN person w ON w.id = j.person LEFT JOIN institution i ON i.id = w.institution
JOIN project p ON p.id = j.project LEFT JOIN site s ON s.id = a.site LEFT JOIN node d ON d.id = a.node
WHERE j.state IN ('starting', 'running') AND coalesce(j.stop, 0) = 0
  AND (j.tier > least(w.tier, i.tier, p.tier, s.tier, d.tier)
       OR (j.tier > 0 AND least(w.tier_until_us, i.tier_until_us, p.tier_until_us,
           s.tier_until_us) <= a.wanted_us))

-- What a trigger looked at when a row came, and no constraint keeps: a copy is loaded without them.
-- name: check_requests
SELECT format('job %s asks for what no job may ask for, or is in no state', number) FROM job
WHERE length(body_sha256) <> 32 OR accelerators NOT BETWEEN 0 AND 100000
   OR min_accelerators NOT BETWEEN 1 AND accelerators OR walltime_s <= 0
   OR (array_of IS NULL) <> (array_task IS NULL) OR array_task < 0
   OR memory_gb NOT BETWEEN 1 AND 65535 OR bandwidth_gb NOT BETWEEN 1 AND 65535
   OR datasets !~ '^[a-z0-9][a-z0-9._-]{0,62}( [a-z0-9][a-z0-9._-]{0,62}){0,7}$'
   OR state NOT IN (SELECT from_state FROM job_reach UNION SELECT to_state FROM job_reach)
-- name: check_people
SELECT format('job %s names no person, no reservation, or a project that is not of its nation', j.number)
FROM job j LEFT JOIN person q ON q.id = j.person
LEFT JOIN project p ON p.id = j.project AND p.nation = j.nation
LEFT JOIN outage o ON o.id = j.reservation
WHERE q.id IS NULL OR p.id IS NULL OR (j.reservation IS NOT NULL AND o.id IS NULL)
-- name: check_moves
SELECT format('entry %s %s %s is no grant and makes quota', op, kind, part) FROM entry
WHERE kind <> 'grant' AND d_free + d_held + d_spent <> 0
-- name: check_owners
SELECT format('account %s is of no nation, project or person that is there', a.id)
FROM account a LEFT JOIN nation n ON n.id = a.nation
LEFT JOIN project p ON p.id = a.project LEFT JOIN person q ON q.id = a.person
WHERE a.level NOT IN ('nation', 'project', 'person')
   OR (a.nation IS NOT NULL AND n.id IS NULL) OR (a.project IS NOT NULL AND p.id IS NULL)
   OR (a.person IS NOT NULL AND q.id IS NULL)

-- The files of the database itself, by PostgreSQL's extension amcheck.
-- name: pages_heap
SELECT format('table %s, page %s: %s', c.relname, v.blkno, v.msg)
FROM pg_class c, LATERAL verify_heapam(c.oid) v
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
-- name: pages_index
-- raises when an index is damaged; says nothing otherwise
SELECT nullif(bt_index_check(c.oid, true)::text, '')
FROM pg_class c JOIN pg_am m ON m.oid = c.relam AND m.amname = 'btree'
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'i'
