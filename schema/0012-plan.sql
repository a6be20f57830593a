-- 0012 - what the planner must know: guarantees of nations, nodes out of use, who runs by right.
-- SPDX-License-Identifier: GPL-3.0-or-later

CREATE TABLE guarantee (
    nation integer NOT NULL REFERENCES nation,
    from_us bigint NOT NULL,
    until_us bigint NOT NULL,
    accelerators integer NOT NULL CHECK (accelerators >= 0),
    PRIMARY KEY (nation, from_us),
    CHECK (from_us < until_us)
);
COMMENT ON TABLE guarantee IS 'Accelerators that a nation''s own jobs may hold at once, for a time';
COMMENT ON COLUMN guarantee.nation IS 'The nation';
COMMENT ON COLUMN guarantee.from_us IS 'First moment, microseconds since the epoch';
COMMENT ON COLUMN guarantee.until_us IS 'First moment after it, microseconds since the epoch';
COMMENT ON COLUMN guarantee.accelerators IS 'How many';

CREATE TABLE outage (
    id integer PRIMARY KEY,
    from_us bigint NOT NULL,
    until_us bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('maintenance', 'reservation')),
    nodes text NOT NULL,
    reason text NOT NULL,
    CHECK (from_us <= until_us)
);
COMMENT ON TABLE outage IS 'Nodes that take no jobs for a time';
COMMENT ON COLUMN outage.id IS 'Its number';
COMMENT ON COLUMN outage.from_us IS 'First moment, microseconds since the epoch';
COMMENT ON COLUMN outage.until_us IS 'First moment after it; from_us when it was called off';
COMMENT ON COLUMN outage.kind IS 'maintenance, or reservation for something outside the plan';
COMMENT ON COLUMN outage.nodes IS 'List of node names with ranges, n[0001-0064]';
COMMENT ON COLUMN outage.reason IS 'Why, for people';

ALTER TABLE attempt ADD COLUMN owned integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN attempt.owned IS '1: inside its nation''s guarantee, never stopped for another';

GRANT SELECT ON guarantee, outage TO beamtime_read;
