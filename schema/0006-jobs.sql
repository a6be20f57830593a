-- 0006 - jobs, their attempts, what they hold, what was promised to them.
-- SPDX-License-Identifier: GPL-3.0-or-later

CREATE TABLE job_edge (
    from_state text NOT NULL,
    to_state text NOT NULL,
    PRIMARY KEY (from_state, to_state)
);
COMMENT ON TABLE job_edge IS 'The legal steps of a job, as in lib/domain/job_states.def';
COMMENT ON COLUMN job_edge.from_state IS 'The state it leaves';
COMMENT ON COLUMN job_edge.to_state IS 'The state it enters';
INSERT INTO job_edge VALUES
    ('held', 'queued'), ('held', 'cancelled'),
    ('queued', 'held'), ('queued', 'starting'), ('queued', 'cancelled'),
    ('starting', 'running'), ('starting', 'queued'), ('starting', 'held'),
    ('starting', 'cancelled'), ('starting', 'failed'),
    ('running', 'finishing'), ('running', 'queued'), ('running', 'held'),
    ('running', 'failed'), ('running', 'cancelled'),
    ('finishing', 'completed'), ('finishing', 'failed'),
    ('finishing', 'cancelled'), ('finishing', 'timeout');

CREATE TABLE job_reach (
    from_state text NOT NULL,
    to_state text NOT NULL,
    PRIMARY KEY (from_state, to_state)
);
COMMENT ON TABLE job_reach IS 'What several legal steps lead to: a batch stores only the last state of a job';
COMMENT ON COLUMN job_reach.from_state IS 'The state before the batch';
COMMENT ON COLUMN job_reach.to_state IS 'The state after it';
INSERT INTO job_reach
    WITH RECURSIVE path AS (
        SELECT from_state, to_state FROM job_edge
        UNION
        SELECT p.from_state, e.to_state FROM path p JOIN job_edge e ON e.from_state = p.to_state
    ) SELECT from_state, to_state FROM path;

CREATE TABLE job (
    id uuid PRIMARY KEY,
    number bigint NOT NULL UNIQUE,
    body_sha256 bytea NOT NULL CHECK (length(body_sha256) = 32),
    person integer NOT NULL,
    project integer NOT NULL,
    nation integer NOT NULL,
    name text NOT NULL,
    kind integer NOT NULL,
    class_name text,
    accelerators integer NOT NULL CHECK (accelerators BETWEEN 0 AND 100000),
    per_node integer NOT NULL,
    level integer NOT NULL,
    level_required integer NOT NULL,
    walltime_s integer NOT NULL CHECK (walltime_s > 0),
    grace_s integer NOT NULL,
    signal integer NOT NULL,
    requeue integer NOT NULL,
    max_attempts integer NOT NULL,
    tier integer NOT NULL,
    gflop bigint,
    gflop_lineage bigint,
    purpose text,
    after_job uuid,
    spec_salt bytea,
    spec_commit bytea,
    after_ok integer,
    submit_us bigint NOT NULL,
    embargo_days integer,
    rules text,
    policy bytea,
    spec text NOT NULL,
    -- what changes
    state text NOT NULL DEFAULT 'held' CHECK (state IN ('held', 'queued', 'starting', 'running',
        'finishing', 'completed', 'failed', 'cancelled', 'timeout')),
    reason text,
    attempt integer NOT NULL DEFAULT 0,
    since_us bigint,
    rate_milli bigint,
    hold_mras bigint,
    start_us bigint,
    end_us bigint,
    charged_mras bigint,
    exit_code integer,
    end_signal integer,
    verdict text,
    outcome text,
    stop integer,
    checkpointed integer,
    promise_us bigint,
    record_idx bigint,
    record_kind text CHECK (record_kind = 'record'),
    result_due_us bigint,
    result_idx bigint,
    submit_idx bigint,
    finish_by_us bigint,
    CONSTRAINT job_ends_with_record CHECK
        ((state IN ('completed', 'failed', 'cancelled', 'timeout')) = (record_idx IS NOT NULL)),
    CONSTRAINT job_record_named CHECK ((record_idx IS NULL) = (record_kind IS NULL)),
    -- checked at once: a batch writes leaves before job states
    CONSTRAINT job_record FOREIGN KEY (record_idx, id, record_kind)
        REFERENCES ledger_entry (idx, job, kind)
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE job IS 'A job: what was asked (never changes) and where it stands';
COMMENT ON COLUMN job.id IS 'UUIDv7 made by the client: its idempotency key';
COMMENT ON COLUMN job.number IS 'Short number within the facility, rising';
COMMENT ON COLUMN job.body_sha256 IS 'SHA-256 of the request: the same id with another body is refused';
COMMENT ON COLUMN job.person IS 'Who asked';
COMMENT ON COLUMN job.project IS 'For which project';
COMMENT ON COLUMN job.nation IS 'Nation of the project';
COMMENT ON COLUMN job.name IS 'Name given by the person';
COMMENT ON COLUMN job.kind IS 'enum job_kind: 0 script, 1 train, 2 coll, 3 command';
COMMENT ON COLUMN job.class_name IS 'Class of accelerators, empty: any';
COMMENT ON COLUMN job.accelerators IS 'How many';
COMMENT ON COLUMN job.per_node IS 'How many a node, 0: any';
COMMENT ON COLUMN job.level IS 'enum topo_level: 0 node, 1 leaf, 2 pod, 3 site, 4 any';
COMMENT ON COLUMN job.level_required IS '1: the level is required, 0: preferred';
COMMENT ON COLUMN job.walltime_s IS 'Longest run of an attempt';
COMMENT ON COLUMN job.grace_s IS 'From the signal to the kill';
COMMENT ON COLUMN job.signal IS 'Signal before preemption and walltime, 0: SIGTERM';
COMMENT ON COLUMN job.requeue IS 'enum requeue_policy: 0 never, 1 on-facility, 2 on-failure';
COMMENT ON COLUMN job.max_attempts IS 'No more attempts than this';
COMMENT ON COLUMN job.tier IS 'Tier that the rules gave it';
COMMENT ON COLUMN job.gflop IS 'Ceiling of its own compute, 10^9 operations';
COMMENT ON COLUMN job.gflop_lineage IS 'With that of its parents';
COMMENT ON COLUMN job.purpose IS 'Declared purpose';
COMMENT ON COLUMN job.after_job IS 'Starts after this job';
COMMENT ON COLUMN job.spec_salt IS 'Opens spec_commit once the document may be shown';
COMMENT ON COLUMN job.spec_commit IS 'What the ledger says of the document';
COMMENT ON COLUMN job.after_ok IS '1: that job must have completed';
COMMENT ON COLUMN job.submit_us IS 'When it was accepted, microseconds since the epoch';
COMMENT ON COLUMN job.embargo_days IS 'Days until its outputs are public';
COMMENT ON COLUMN job.rules IS 'The rules that decided, JSON array of ids';
COMMENT ON COLUMN job.policy IS 'Digest of the policy that decided';
COMMENT ON COLUMN job.spec IS 'The job document as it came';
COMMENT ON COLUMN job.state IS 'State of job_states.def';
COMMENT ON COLUMN job.reason IS 'Why it is held';
COMMENT ON COLUMN job.attempt IS 'Present or last attempt, 0: none yet';
COMMENT ON COLUMN job.since_us IS 'In this state since, microseconds since the epoch';
COMMENT ON COLUMN job.rate_milli IS 'Rate of the present hold';
COMMENT ON COLUMN job.hold_mras IS 'The present attempt''s hold';
COMMENT ON COLUMN job.start_us IS 'First start of ranks, microseconds since the epoch';
COMMENT ON COLUMN job.end_us IS 'Last end of ranks, microseconds since the epoch';
COMMENT ON COLUMN job.charged_mras IS 'Charged so far over all attempts';
COMMENT ON COLUMN job.exit_code IS 'Exit status of the last attempt';
COMMENT ON COLUMN job.end_signal IS 'Signal that ended the last attempt';
COMMENT ON COLUMN job.verdict IS 'Terminal state that a finishing job will have';
COMMENT ON COLUMN job.outcome IS 'How it ended, in a word';
COMMENT ON COLUMN job.stop IS 'Why it is being stopped, 0: it is not';
COMMENT ON COLUMN job.checkpointed IS '1: a checkpoint was seen';
COMMENT ON COLUMN job.promise_us IS 'Latest start promised, microseconds since the epoch';
COMMENT ON COLUMN job.record_idx IS 'Ledger index of its machine record; there in every terminal state and only there';
COMMENT ON COLUMN job.record_kind IS 'record, when record_idx is there';
COMMENT ON COLUMN job.result_due_us IS 'When the researcher''s result is due, microseconds since the epoch';
COMMENT ON COLUMN job.result_idx IS 'Ledger index of the result';
COMMENT ON COLUMN job.submit_idx IS 'Ledger index of its submit leaf: appended at the first start';
COMMENT ON COLUMN job.finish_by_us IS 'A finishing job becomes terminal at this time at the latest';
CREATE INDEX job_open ON job (number) WHERE record_idx IS NULL;
CREATE INDEX job_due ON job (result_due_us) WHERE result_due_us IS NOT NULL AND result_idx IS NULL;
CREATE INDEX job_submitted ON job USING brin (submit_us) WITH (pages_per_range = 32);
CREATE INDEX job_person ON job (person, number);

CREATE TABLE attempt (
    job uuid NOT NULL REFERENCES job,
    n integer NOT NULL CHECK (n > 0),
    state text NOT NULL CHECK (state IN ('wanted', 'claimed', 'running', 'preempting',
        'unreachable', 'ended')),
    site integer,
    node integer,
    hold_mras bigint,
    wanted_us bigint,
    claimed_us bigint,
    started_us bigint,
    ended_us bigint,
    foreign_id text,
    reason text,
    exit_code integer,
    signal integer,
    PRIMARY KEY (job, n)
) WITH (fillfactor = 70);
COMMENT ON TABLE attempt IS 'One try to run a job';
COMMENT ON COLUMN attempt.job IS 'The job';
COMMENT ON COLUMN attempt.n IS 'Which try, from 1';
COMMENT ON COLUMN attempt.state IS 'Attempt state of job_states.def';
COMMENT ON COLUMN attempt.site IS 'Where';
COMMENT ON COLUMN attempt.node IS 'Its first node';
COMMENT ON COLUMN attempt.hold_mras IS 'What was held for it';
COMMENT ON COLUMN attempt.wanted_us IS 'When it was decided, microseconds since the epoch';
COMMENT ON COLUMN attempt.claimed_us IS 'When its shepherd''s one claim was committed';
COMMENT ON COLUMN attempt.started_us IS 'When its ranks ran';
COMMENT ON COLUMN attempt.ended_us IS 'When its ranks were gone';
COMMENT ON COLUMN attempt.foreign_id IS 'The cluster''s name of it, given with the claim';
COMMENT ON COLUMN attempt.reason IS 'How it ended';
COMMENT ON COLUMN attempt.exit_code IS 'Exit status';
COMMENT ON COLUMN attempt.signal IS 'Signal that ended it';

CREATE FUNCTION attempt_guard() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    bad record;
BEGIN
    SELECT w.job, w.n, w.state AS a, x.state AS b INTO bad
    FROM was w JOIN now x ON x.job = w.job AND x.n = w.n
    WHERE (w.state = 'ended' AND x.state <> 'ended')
       OR (w.claimed_us IS NOT NULL AND x.claimed_us IS DISTINCT FROM w.claimed_us)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'attempt % of job % may not go from % to %, nor be claimed again',
            bad.n, bad.job, bad.a, bad.b USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION attempt_guard IS 'One claim an attempt; an ended attempt stays ended';
CREATE TRIGGER attempt_steps AFTER UPDATE ON attempt REFERENCING OLD TABLE AS was NEW TABLE AS now
    FOR EACH STATEMENT EXECUTE FUNCTION attempt_guard();
CREATE TRIGGER attempt_stays BEFORE DELETE OR TRUNCATE ON attempt
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();

CREATE TABLE alloc (
    job uuid NOT NULL,
    node integer NOT NULL,
    mask bigint NOT NULL CHECK (mask <> 0),
    PRIMARY KEY (job, node)
);
COMMENT ON TABLE alloc IS 'Accelerators that a job holds now';
COMMENT ON COLUMN alloc.job IS 'The job';
COMMENT ON COLUMN alloc.node IS 'The node';
COMMENT ON COLUMN alloc.mask IS 'A bit for each accelerator held there';

CREATE FUNCTION alloc_take() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    want bigint;
    got bigint;
BEGIN
    WITH taken AS (
        SELECT node, bit_or(mask) AS mask,
               sum(bit_count(mask::bit(64))) = bit_count(bit_or(mask)::bit(64)) AS apart
        FROM fresh GROUP BY node
    ), done AS (
        UPDATE node n SET busy = n.busy | t.mask
        FROM taken t
        WHERE n.id = t.node AND t.apart AND n.busy & t.mask = 0 AND t.mask & ~n.all_mask = 0
        RETURNING n.id
    )
    SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM done) INTO want, got;
    IF got <> want THEN
        RAISE EXCEPTION 'accelerators of % node(s) are held already or are not there', want - got
            USING ERRCODE = 'exclusion_violation';
    END IF;
    IF EXISTS (SELECT FROM (SELECT DISTINCT job FROM fresh) f
               WHERE NOT EXISTS (SELECT FROM job j WHERE j.id = f.job)) THEN
        RAISE EXCEPTION 'an allocation names no job' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION alloc_take IS 'New allocations are disjoint from each other and from what their nodes have busy';
CREATE TRIGGER alloc_disjoint AFTER INSERT ON alloc REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION alloc_take();

CREATE FUNCTION alloc_give() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE node n SET busy = n.busy & ~g.mask
    FROM (SELECT node, bit_or(mask) AS mask FROM gone GROUP BY node) g
    WHERE n.id = g.node;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION alloc_give IS 'What is released is busy no more';
CREATE TRIGGER alloc_release AFTER DELETE ON alloc REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION alloc_give();
CREATE TRIGGER alloc_fixed BEFORE UPDATE OR TRUNCATE ON alloc
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();

CREATE TRIGGER node_by_alloc BEFORE UPDATE OF busy ON node
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION deny_change();
CREATE TRIGGER node_stays BEFORE DELETE OR TRUNCATE ON node
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();

CREATE TABLE promise (
    job uuid NOT NULL,
    given_us bigint NOT NULL,
    start_by_us bigint NOT NULL,
    cause text,
    PRIMARY KEY (job, given_us, start_by_us)
);
COMMENT ON TABLE promise IS 'Every latest start that was promised; only grows';
COMMENT ON COLUMN promise.job IS 'The job';
COMMENT ON COLUMN promise.given_us IS 'When, microseconds since the epoch';
COMMENT ON COLUMN promise.start_by_us IS 'Start by then, microseconds since the epoch';
COMMENT ON COLUMN promise.cause IS 'Why a promise moved';
CREATE TRIGGER promise_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON promise
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();

CREATE FUNCTION job_begins() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM fresh WHERE state NOT IN ('held', 'queued')
                  OR submit_idx IS NOT NULL OR result_idx IS NOT NULL) THEN
        RAISE EXCEPTION 'a new job is held or queued' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF EXISTS (SELECT FROM (SELECT DISTINCT person, project, nation FROM fresh) f
               WHERE NOT EXISTS (SELECT FROM project p
                                 WHERE p.id = f.project AND p.nation = f.nation)
                  OR NOT EXISTS (SELECT FROM person q WHERE q.id = f.person)) THEN
        RAISE EXCEPTION 'a job names no person, or a project that is not of its nation'
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION job_begins IS 'How a job may begin, and its foreign keys, one look a statement';
CREATE TRIGGER job_begin AFTER INSERT ON job REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION job_begins();

CREATE FUNCTION job_guard() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    bad record;
BEGIN
    SELECT w.id, w.state AS a, x.state AS b INTO bad
    FROM was w JOIN now x ON x.id = w.id
    WHERE (w.state <> x.state AND NOT EXISTS (SELECT FROM job_reach r
            WHERE r.from_state = w.state AND r.to_state = x.state))
       OR x.attempt < w.attempt
       OR (w.record_idx IS NOT NULL AND x.record_idx IS DISTINCT FROM w.record_idx)
       OR (w.submit_idx IS NOT NULL AND x.submit_idx IS DISTINCT FROM w.submit_idx)
       OR (w.result_idx IS NOT NULL AND x.result_idx IS NULL)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'job % may not go from % to %, nor lose an attempt or a leaf',
            bad.id, bad.a, bad.b USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT x.id INTO bad
    FROM now x,
         LATERAL (SELECT sum(e.d_held) AS held FROM entry e WHERE e.op = x.id) h
    WHERE x.record_idx IS NOT NULL AND h.held <> 0
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'job % ends with quota still held', bad.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT x.id INTO bad
    FROM was w JOIN now x ON x.id = w.id
    WHERE (x.submit_idx IS DISTINCT FROM w.submit_idx AND NOT EXISTS (
            SELECT FROM ledger_entry l
            WHERE l.idx = x.submit_idx AND l.job = x.id AND l.kind = 'submit'))
       OR (x.result_idx IS DISTINCT FROM w.result_idx AND NOT EXISTS (
            SELECT FROM ledger_entry l
            WHERE l.idx = x.result_idx AND l.job = x.id AND l.kind = 'result'))
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'job % names a leaf that is not its own', bad.id
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION job_guard IS 'States follow legal steps, a leaf once named stays, a terminal job holds no quota';
CREATE TRIGGER job_steps AFTER UPDATE ON job REFERENCING OLD TABLE AS was NEW TABLE AS now
    FOR EACH STATEMENT EXECUTE FUNCTION job_guard();
CREATE TRIGGER job_fixed BEFORE UPDATE OF id, number, body_sha256, person, project, nation, name,
    kind, class_name, accelerators, per_node, level, level_required, walltime_s, grace_s, signal,
    requeue, max_attempts, tier, gflop, gflop_lineage, purpose, after_job, spec_salt, spec_commit,
    after_ok, submit_us, embargo_days, rules, policy, spec ON job
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();
CREATE TRIGGER job_stays BEFORE DELETE OR TRUNCATE ON job
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();

-- at commit, once a start: the gang is whole
CREATE FUNCTION job_gang_whole() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    PERFORM FROM job j WHERE j.id = NEW.id AND j.state IN ('starting', 'running');
    IF FOUND THEN
        SELECT coalesce(sum(bit_count(a.mask::bit(64))), 0) INTO n FROM alloc a WHERE a.job = NEW.id;
        IF n <> NEW.accelerators THEN
            RAISE EXCEPTION 'job % starts with % of % accelerators', NEW.id, n, NEW.accelerators
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION job_gang_whole IS 'A job that starts holds exactly the accelerators it asked for';
CREATE CONSTRAINT TRIGGER job_gang AFTER UPDATE OF state ON job
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.state IN ('starting', 'running') AND OLD.state NOT IN ('starting', 'running'))
    EXECUTE FUNCTION job_gang_whole();
