-- 0005 - the ledger: its leaves, its size, what was signed of it.
-- SPDX-License-Identifier: GPL-3.0-or-later

CREATE TABLE ledger_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    size bigint NOT NULL CHECK (size >= 0)
);
COMMENT ON TABLE ledger_head IS 'The one row that says how many leaves the ledger has';
COMMENT ON COLUMN ledger_head.one IS 'true: there is one row';
COMMENT ON COLUMN ledger_head.size IS 'Number of leaves; the next leaf has this index';
INSERT INTO ledger_head VALUES (true, 0);

CREATE TABLE ledger_entry (
    idx bigint PRIMARY KEY CHECK (idx >= 0),
    kind text NOT NULL,
    job uuid,
    leaf_sha256 bytea NOT NULL UNIQUE CHECK (length(leaf_sha256) = 32),
    body text NOT NULL,
    at_us bigint NOT NULL,
    UNIQUE (idx, job, kind),
    CONSTRAINT ledger_leaf_hash CHECK
        (leaf_sha256 = sha256('\x00'::bytea || convert_to(body, 'UTF8')))
);
COMMENT ON TABLE ledger_entry IS 'A leaf of the public ledger; only grows, without gaps';
COMMENT ON COLUMN ledger_entry.idx IS 'Its index, final at commit';
COMMENT ON COLUMN ledger_entry.kind IS 'submit, record, result, …';
COMMENT ON COLUMN ledger_entry.job IS 'The job it is about, if any';
COMMENT ON COLUMN ledger_entry.leaf_sha256 IS 'Its hash in the tree: SHA-256 of a zero byte and the body (RFC 6962)';
COMMENT ON COLUMN ledger_entry.body IS 'The leaf itself: canonical JSON';
COMMENT ON COLUMN ledger_entry.at_us IS 'The core''s stamped time, microseconds since the epoch';
CREATE UNIQUE INDEX ledger_once ON ledger_entry (job, kind) WHERE kind IN ('submit', 'record');
CREATE INDEX ledger_later ON ledger_entry (job, idx) WHERE kind NOT IN ('submit', 'record');

CREATE FUNCTION ledger_grow() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
    first bigint;
    last bigint;
BEGIN
    SELECT count(*), min(idx), max(idx) INTO n, first, last FROM fresh;
    IF n = 0 THEN
        RETURN NULL;
    END IF;
    UPDATE ledger_head SET size = size + n WHERE size = first AND last = first + n - 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'leaves %..% (%) do not continue the ledger', first, last, n
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION ledger_grow IS 'New leaves follow the last one without a gap';
CREATE TRIGGER ledger_contiguous AFTER INSERT ON ledger_entry REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_grow();
CREATE TRIGGER ledger_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entry
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();
CREATE TRIGGER ledger_head_by_entry BEFORE UPDATE ON ledger_head
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION deny_change();
CREATE TRIGGER ledger_head_stays BEFORE INSERT OR DELETE OR TRUNCATE ON ledger_head
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();

CREATE TABLE checkpoint (
    size bigint PRIMARY KEY CHECK (size >= 0),
    root bytea NOT NULL CHECK (length(root) = 32),
    frontier bytea NOT NULL CHECK (length(frontier) % 32 = 0),
    note text
);
COMMENT ON TABLE checkpoint IS 'A size of the ledger that is or may be signed: committed before its first signature exists';
COMMENT ON COLUMN checkpoint.size IS 'Number of leaves';
COMMENT ON COLUMN checkpoint.root IS 'Root of the tree of that size';
COMMENT ON COLUMN checkpoint.frontier IS 'Roots of its full subtrees, 32 bytes each, largest first';
COMMENT ON COLUMN checkpoint.note IS 'The signed note once it exists; given once';
CREATE TABLE cosignature (
    size bigint NOT NULL REFERENCES checkpoint,
    witness text NOT NULL,
    line text NOT NULL,
    PRIMARY KEY (size, witness)
);
COMMENT ON TABLE cosignature IS 'A witness'' signature of a checkpoint; only grows';
COMMENT ON COLUMN cosignature.size IS 'The checkpoint';
COMMENT ON COLUMN cosignature.witness IS 'Name of the witness'' key';
COMMENT ON COLUMN cosignature.line IS 'Its signature line of the note';

CREATE FUNCTION checkpoint_noted() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM was FULL JOIN now USING (size)
               WHERE was.note IS NOT NULL OR was.root IS DISTINCT FROM now.root
                  OR was.frontier IS DISTINCT FROM now.frontier) THEN
        RAISE EXCEPTION 'a checkpoint only gets its note, once' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION checkpoint_noted IS 'A checkpoint gets its note and changes in no other way';
CREATE TRIGGER checkpoint_note AFTER UPDATE ON checkpoint REFERENCING OLD TABLE AS was NEW TABLE AS now
    FOR EACH STATEMENT EXECUTE FUNCTION checkpoint_noted();

CREATE FUNCTION checkpoint_within() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM fresh WHERE size > (SELECT size FROM ledger_head)
                  OR size < (SELECT max(c.size) FROM checkpoint c)) THEN
        RAISE EXCEPTION 'a checkpoint covers committed leaves and all earlier checkpoints'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION checkpoint_within IS 'Checkpoints grow, within what is committed';
CREATE TRIGGER checkpoint_order AFTER INSERT ON checkpoint REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION checkpoint_within();
CREATE TRIGGER checkpoint_grows BEFORE DELETE OR TRUNCATE ON checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();
CREATE TRIGGER cosignature_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON cosignature
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();
