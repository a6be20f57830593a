-- write.sql - the statements of the one writer, in the order in which a transaction runs them.
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- put_<kind> takes its rows as $1, an array of the table's row type. Before a statement is
-- prepared, braces are filled in from rows.def (daemon/store/codec.c): {columns} are the kind's
-- columns, {tail} those behind the key, {r.columns}, {r.tail} and {new.tail} the same of r and of
-- EXCLUDED.

-- name: begin
BEGIN
-- name: advance
SELECT core_advance($1::bigint, $2::bigint)
-- name: commit
COMMIT
-- name: rollback
ROLLBACK
-- name: head
SELECT epoch, seq FROM core_head FOR UPDATE
-- name: lead
UPDATE core_head SET epoch = epoch + 1 RETURNING epoch, seq
-- name: doorbell
SELECT pg_advisory_lock(hashtext('beamtime leader'))
-- name: doorbell_try
SELECT pg_try_advisory_lock(hashtext('beamtime leader'))
-- name: layouts
SELECT c.relname, c.reltype, a.attname, a.atttypid
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.oid, a.attnum
-- name: clock
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint

-- name: put_nation
INSERT INTO nation ({columns}) SELECT {columns} FROM unnest($1::nation[]) AS r
ON CONFLICT (id) DO UPDATE SET ({tail}) = ROW({new.tail})
-- name: put_institution
INSERT INTO institution ({columns}) SELECT {columns} FROM unnest($1::institution[]) AS r
ON CONFLICT (id) DO UPDATE SET ({tail}) = ROW({new.tail})
-- name: put_person
INSERT INTO person ({columns}) SELECT {columns} FROM unnest($1::person[]) AS r
ON CONFLICT (id) DO UPDATE SET ({tail}) = ROW({new.tail})
-- name: put_project
INSERT INTO project ({columns}) SELECT {columns} FROM unnest($1::project[]) AS r
ON CONFLICT (id) DO UPDATE SET ({tail}) = ROW({new.tail})
-- name: put_member
INSERT INTO member ({columns}) SELECT {columns} FROM unnest($1::member[]) AS r
ON CONFLICT (project, person) DO UPDATE SET ({tail}) = ROW({new.tail})
-- name: put_account
INSERT INTO account ({columns}) SELECT {columns} FROM unnest($1::account[]) AS r
ON CONFLICT (id) DO UPDATE SET overdraft = greatest(account.overdraft, EXCLUDED.overdraft)
-- name: put_credential
INSERT INTO credential ({columns}) SELECT {columns} FROM unnest($1::credential[]) AS r
ON CONFLICT (spki) DO UPDATE SET ({tail}) = ROW({new.tail})
-- name: put_token
INSERT INTO token ({columns}) SELECT {columns} FROM unnest($1::token[]) AS r
ON CONFLICT (sha256) DO UPDATE SET ({tail}) = ROW({new.tail})
-- name: put_site
INSERT INTO site ({columns}) SELECT {columns} FROM unnest($1::site[]) AS r
ON CONFLICT (id) DO UPDATE SET ({tail}) = ROW({new.tail})
-- name: put_node
INSERT INTO node ({columns}) SELECT {columns} FROM unnest($1::node[]) AS r
ON CONFLICT (id) DO UPDATE SET ({tail}) = ROW({new.tail})
-- name: put_switch_pair
INSERT INTO switch_pair ({columns}) SELECT {columns} FROM unnest($1::switch_pair[]) AS r
ON CONFLICT (id) DO UPDATE SET ({tail}) = ROW({new.tail})
-- name: put_rate
INSERT INTO rate ({columns}) SELECT {columns} FROM unnest($1::rate[]) AS r
ON CONFLICT (class_name, from_us) DO UPDATE SET ({tail}) = ROW({new.tail})
-- name: put_unixmap
INSERT INTO unixmap ({columns}) SELECT {columns} FROM unnest($1::unixmap[]) AS r
ON CONFLICT (person, site) DO UPDATE SET ({tail}) = ROW({new.tail})
-- name: put_guarantee
INSERT INTO guarantee ({columns}) SELECT {columns} FROM unnest($1::guarantee[]) AS r
ON CONFLICT (nation, from_us) DO UPDATE SET ({tail}) = ROW({new.tail})
-- name: put_outage
INSERT INTO outage ({columns}) SELECT {columns} FROM unnest($1::outage[]) AS r
ON CONFLICT (id) DO UPDATE SET ({tail}) = ROW({new.tail})
-- name: put_dataset
INSERT INTO dataset ({columns}) SELECT {columns} FROM unnest($1::dataset[]) AS r
ON CONFLICT (id) DO UPDATE SET ({tail}) = ROW({new.tail})
-- name: put_request
INSERT INTO request ({columns}) SELECT {columns} FROM unnest($1::request[]) AS r
-- name: put_policy
INSERT INTO policy ({columns}) SELECT {columns} FROM unnest($1::policy[]) AS r
ON CONFLICT (digest) DO UPDATE SET at_us = EXCLUDED.at_us
-- name: put_job
-- with the first state, and the event of its submission
INSERT INTO job (submit_seq, {columns}) SELECT h.seq, {r.columns} FROM core_head h, unnest($1::job[]) AS r
-- name: put_ledger
INSERT INTO ledger_entry ({columns}) SELECT {columns} FROM unnest($1::ledger_entry[]) AS r
-- name: put_attempt
INSERT INTO attempt ({columns}) SELECT {columns} FROM unnest($1::attempt[]) AS r
ON CONFLICT (job, n) DO UPDATE SET ({tail}) = ROW({new.tail})
-- name: put_alloc_del
-- what a batch both takes and gives back is not in it: each row was there before
WITH done AS (
    DELETE FROM alloc a USING unnest($1::alloc[]) AS r WHERE a.job = r.job AND a.node = r.node RETURNING 1
)
SELECT expect_rows('alloc', (SELECT count(*) FROM done), cardinality($1))
-- name: put_alloc
INSERT INTO alloc ({columns}) SELECT {columns} FROM unnest($1::alloc[]) AS r
-- name: put_entry
INSERT INTO entry ({columns}) SELECT {columns} FROM unnest($1::entry[]) AS r
-- name: put_account_set
WITH done AS (
    UPDATE account a SET ({tail}) = ROW({r.tail})
    FROM unnest($1::account[]) AS r WHERE a.id = r.id RETURNING 1
)
SELECT expect_rows('account', (SELECT count(*) FROM done), cardinality($1))
-- name: put_job_state
WITH done AS (
    UPDATE job j SET ({tail}) = ROW({r.tail}) FROM unnest($1::job[]) AS r WHERE j.id = r.id RETURNING 1
)
SELECT expect_rows('job', (SELECT count(*) FROM done), cardinality($1))
-- name: put_promise
INSERT INTO promise ({columns}) SELECT {columns} FROM unnest($1::promise[]) AS r
-- name: put_event
INSERT INTO event_row (seq, {columns}) SELECT h.seq, {r.columns} FROM core_head h, unnest($1::event_row[]) AS r
