-- load.sql - what the core reads at start, a statement a kind, in the order of rows.def.
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Kinds without one are only written. $1: jobs submitted since then are read even if they are
-- over, for the window of request ids.

-- name: load_nation
SELECT {columns} FROM nation ORDER BY id
-- name: load_institution
SELECT {columns} FROM institution ORDER BY id
-- name: load_person
SELECT {columns} FROM person ORDER BY id
-- name: load_project
SELECT {columns} FROM project ORDER BY id
-- name: load_member
SELECT {columns} FROM member ORDER BY project, person
-- name: load_account
SELECT {columns} FROM account ORDER BY id
-- name: load_credential
SELECT {columns} FROM credential
-- name: load_token
SELECT {columns} FROM token
-- name: load_site
SELECT {columns} FROM site ORDER BY id
-- name: load_node
SELECT {columns} FROM node ORDER BY id
-- name: load_rate
SELECT {columns} FROM rate ORDER BY class_name, from_us
-- name: load_unixmap
SELECT {columns} FROM unixmap
-- name: load_guarantee
SELECT {columns} FROM guarantee ORDER BY nation, from_us
-- name: load_outage
SELECT {columns} FROM outage ORDER BY id
-- name: load_dataset
SELECT {columns} FROM dataset ORDER BY id
-- name: load_request
SELECT {columns} FROM request WHERE at_us >= $1 ORDER BY at_us, id
-- name: load_switch_pair
SELECT {columns} FROM switch_pair ORDER BY id
-- name: load_policy
SELECT {columns} FROM policy ORDER BY at_us DESC LIMIT 1
-- name: load_job
SELECT {columns} FROM job
WHERE record_idx IS NULL OR submit_us >= $1
   OR (result_due_us IS NOT NULL AND result_idx IS NULL)
ORDER BY number
-- name: load_attempt
SELECT {columns} FROM attempt WHERE job IN (
    SELECT id FROM job
    WHERE record_idx IS NULL OR submit_us >= $1
       OR (result_due_us IS NOT NULL AND result_idx IS NULL))
ORDER BY job, n
-- name: load_alloc
SELECT {columns} FROM alloc
-- name: load_job_state
SELECT {columns} FROM job
WHERE record_idx IS NULL OR submit_us >= $1
   OR (result_due_us IS NOT NULL AND result_idx IS NULL)
ORDER BY number
-- name: load_promise
SELECT DISTINCT ON (r.job) {r.columns} FROM job j JOIN promise r ON r.job = j.id AND r.attempt = j.attempt
WHERE j.record_idx IS NULL ORDER BY r.job, r.given_us DESC
-- name: load_balance
SELECT {columns} FROM account ORDER BY id
-- name: load_heads
SELECT (SELECT size FROM ledger_head), epoch, seq,
       (SELECT coalesce(max(number), 0) FROM job) FROM core_head
