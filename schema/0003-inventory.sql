-- 0003 - sites, nodes, rates, and accounts of people on machines.
-- SPDX-License-Identifier: GPL-3.0-or-later

CREATE TABLE site (
    id integer PRIMARY KEY,
    name text NOT NULL UNIQUE,
    kind text NOT NULL,
    tier integer NOT NULL,
    tier_until_us bigint,
    state text NOT NULL
);
COMMENT ON TABLE site IS 'A place that runs jobs: one Slurm cluster, or one machine';
COMMENT ON COLUMN site.id IS 'Number within the facility';
COMMENT ON COLUMN site.name IS 'Short name';
COMMENT ON COLUMN site.kind IS 'local or slurm';
COMMENT ON COLUMN site.tier IS 'Highest tier it is secured for';
COMMENT ON COLUMN site.tier_until_us IS 'When that ends, microseconds since the epoch';
COMMENT ON COLUMN site.state IS 'up or down';

CREATE TABLE node (
    id integer PRIMARY KEY,
    site integer NOT NULL REFERENCES site,
    name text NOT NULL UNIQUE,
    pod integer NOT NULL,
    leaf integer NOT NULL,
    class_name text NOT NULL,
    n_acc integer NOT NULL CHECK (n_acc BETWEEN 0 AND 64),
    all_mask bigint NOT NULL,
    tier integer NOT NULL,
    state text NOT NULL,
    reason text,
    until_us bigint,
    inventory text,
    busy bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
COMMENT ON TABLE node IS 'A machine with up to 64 accelerators';
COMMENT ON COLUMN node.id IS 'Number within the facility';
COMMENT ON COLUMN node.site IS 'Where it stands';
COMMENT ON COLUMN node.name IS 'Its host name, the subject of its agent''s certificate';
COMMENT ON COLUMN node.pod IS 'Number of its pod (several leaves)';
COMMENT ON COLUMN node.leaf IS 'Number of its leaf switch';
COMMENT ON COLUMN node.class_name IS 'Class of its accelerators';
COMMENT ON COLUMN node.n_acc IS 'How many accelerators it has';
COMMENT ON COLUMN node.all_mask IS 'A bit for each usable accelerator';
COMMENT ON COLUMN node.tier IS 'Highest tier of jobs it takes';
COMMENT ON COLUMN node.state IS 'up, draining, down';
COMMENT ON COLUMN node.reason IS 'Why it is not up';
COMMENT ON COLUMN node.until_us IS 'When it is expected back, microseconds since the epoch';
COMMENT ON COLUMN node.inventory IS 'JSON text its agent registered with';
COMMENT ON COLUMN node.busy IS 'Accelerators in allocations: the OR of its alloc rows, kept by their triggers';

CREATE TABLE rate (
    class_name text NOT NULL,
    from_us bigint NOT NULL,
    rate_milli bigint NOT NULL CHECK (rate_milli >= 0),
    peak_gflops bigint,
    PRIMARY KEY (class_name, from_us)
);
COMMENT ON TABLE rate IS 'What an accelerator of a class costs from a moment on';
COMMENT ON COLUMN rate.class_name IS 'Class of accelerators';
COMMENT ON COLUMN rate.from_us IS 'First moment it applies, microseconds since the epoch';
COMMENT ON COLUMN rate.rate_milli IS 'Thousandths of a reference accelerator';
COMMENT ON COLUMN rate.peak_gflops IS 'Dense peak of one accelerator, for the derived ceiling of FLOPs';

CREATE TABLE unixmap (
    person integer NOT NULL REFERENCES person,
    site integer NOT NULL REFERENCES site,
    unixname text NOT NULL,
    PRIMARY KEY (person, site)
);
COMMENT ON TABLE unixmap IS 'The Unix account under which a person''s jobs run at a site';
COMMENT ON COLUMN unixmap.person IS 'The person';
COMMENT ON COLUMN unixmap.site IS 'The site';
COMMENT ON COLUMN unixmap.unixname IS 'The account''s name there';
