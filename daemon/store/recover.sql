-- recover.sql - what `beamtimed recover` does to a database that is older than what was published.
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- $1 of the statements on a leaf is its index; each concerns one kind and leaves others alone.

-- name: recover_head
SELECT h.epoch, h.seq, l.size FROM core_head h, ledger_head l FOR UPDATE OF h
-- name: recover_leaf
-- its index and text: kind and job are told by it
INSERT INTO ledger_entry (idx, kind, job, leaf_sha256, body, at_us)
SELECT $1::bigint, $2::json ->> 'kind', ($2::json #>> '{body,job}')::uuid,
    sha256('\x00'::bytea || convert_to($2::text, 'UTF8')), $2::text,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
-- name: recover_submit
UPDATE job j SET submit_idx = l.idx FROM ledger_entry l
WHERE l.idx = $1::bigint AND l.kind = 'submit' AND j.id = l.job AND j.submit_idx IS NULL
-- name: recover_result
UPDATE job j SET result_idx = l.idx FROM ledger_entry l
WHERE l.idx = $1::bigint AND l.kind = 'result' AND j.id = l.job
-- name: recover_alloc
DELETE FROM alloc a USING ledger_entry l
WHERE l.idx = $1::bigint AND l.kind = 'record' AND a.job = l.job
-- name: recover_attempt
UPDATE attempt a SET state = 'ended', reason = coalesce(a.reason, 'recovered'),
    ended_us = coalesce(a.ended_us, l.at_us)
FROM ledger_entry l
WHERE l.idx = $1::bigint AND l.kind = 'record' AND a.job = l.job AND a.state <> 'ended'
-- name: recover_overdraft
-- what the record charged was used, also where the grants of this database do not cover it
UPDATE account a SET overdraft = greatest(a.overdraft, m.owed - m.held - a.free)
FROM (SELECT e.op, sum(e.d_held)::bigint AS held, max(e.nation) AS nation, max(e.project) AS project,
        max(e.person) AS person,
        greatest((max(l.body)::json #>> '{body,charged_mras}')::bigint - sum(e.d_spent), 0)::bigint AS owed
    FROM entry e JOIN ledger_entry l ON l.job = e.op
    WHERE l.idx = $1::bigint AND l.kind = 'record' GROUP BY e.op HAVING sum(e.d_held) > 0) m
WHERE a.id IN (m.nation, m.project, m.person)
-- name: recover_settle
INSERT INTO entry (op, kind, part, nation, project, person, d_free, d_held, d_spent, at_us)
SELECT m.op, 'settle', m.part, h.nation, h.project, h.person, m.held - m.owed, -m.held, m.owed, m.at_us
FROM (SELECT e.op, max(e.part) AS part, sum(e.d_held)::bigint AS held, max(l.at_us) AS at_us,
        greatest((max(l.body)::json #>> '{body,charged_mras}')::bigint - sum(e.d_spent), 0)::bigint AS owed
    FROM entry e JOIN ledger_entry l ON l.job = e.op
    WHERE l.idx = $1::bigint AND l.kind = 'record' GROUP BY e.op HAVING sum(e.d_held) > 0) m
JOIN entry h ON h.op = m.op AND h.kind = 'hold' AND h.part = m.part
-- name: recover_record
UPDATE job j SET state = r.b ->> 'outcome', reason = NULL, verdict = NULL, hold_mras = 0,
    since_us = r.at_us, outcome = r.b ->> 'reason',
    start_us = (extract(epoch FROM (r.b ->> 'started')::timestamptz) * 1000000)::bigint,
    end_us = (extract(epoch FROM (r.b ->> 'ended')::timestamptz) * 1000000)::bigint,
    charged_mras = (r.b ->> 'charged_mras')::bigint,
    exit_code = (r.b ->> 'exit_code')::integer, end_signal = coalesce((r.b ->> 'signal')::integer, 0),
    result_due_us = (extract(epoch FROM (r.b ->> 'publish_by')::timestamptz) * 1000000)::bigint,
    record_idx = r.idx, record_kind = 'record'
FROM (SELECT idx, job, at_us, body::json -> 'body' AS b FROM ledger_entry
    WHERE idx = $1::bigint AND kind = 'record') r
WHERE j.id = r.job AND j.record_idx IS NULL
-- name: recover_done
UPDATE core_head SET epoch = greatest(epoch, $1::bigint), seq = $2::bigint
-- name: recover_event
INSERT INTO event_row (seq, ord, at_us, kind, actor, body)
VALUES ($1::bigint, 0, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, 'recover', 'inside', $2::text)
