-- 0019 - what agents measured between the switches.
-- SPDX-License-Identifier: GPL-3.0-or-later

CREATE TABLE switch_pair (
    id integer PRIMARY KEY,
    site integer NOT NULL REFERENCES site,
    class_name text NOT NULL,
    leaf_a integer NOT NULL,
    leaf_b integer NOT NULL,
    busbw_mbs bigint NOT NULL CHECK (busbw_mbs >= 0),
    measured_us bigint NOT NULL,
    node_a text NOT NULL,
    node_b text NOT NULL,
    state text NOT NULL CHECK (state IN ('good', 'slow')),
    UNIQUE (site, class_name, leaf_a, leaf_b),
    CHECK (leaf_a <= leaf_b)
);
COMMENT ON TABLE switch_pair IS 'The latest measurement between nodes of two leaf switches, or of one';
COMMENT ON COLUMN switch_pair.id IS 'Number within the facility';
COMMENT ON COLUMN switch_pair.site IS 'Where both stand';
COMMENT ON COLUMN switch_pair.class_name IS 'Class of the nodes'' accelerators';
COMMENT ON COLUMN switch_pair.leaf_a IS 'Number of the first leaf switch';
COMMENT ON COLUMN switch_pair.leaf_b IS 'Number of the second; the first again: inside one switch';
COMMENT ON COLUMN switch_pair.busbw_mbs IS 'Bandwidth each way of two nodes that swap data, 10^6 bytes/s; the median when several pairs of nodes measured';
COMMENT ON COLUMN switch_pair.measured_us IS 'When, microseconds since the epoch';
COMMENT ON COLUMN switch_pair.node_a IS 'A node of the first that took part';
COMMENT ON COLUMN switch_pair.node_b IS 'And its partner';
COMMENT ON COLUMN switch_pair.state IS 'slow: below 0.8 of the median of its class, of pairs inside a switch or of those between two';

GRANT SELECT ON switch_pair TO beamtime_read;
