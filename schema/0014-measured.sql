-- 0014 - what a node's own collective benchmark gave.
-- SPDX-License-Identifier: GPL-3.0-or-later

ALTER TABLE node ADD COLUMN busbw_mbs bigint CHECK (busbw_mbs >= 0);
ALTER TABLE node ADD COLUMN measured_us bigint;
ALTER TABLE node ADD COLUMN measure_us bigint;
COMMENT ON COLUMN node.busbw_mbs IS 'Bus bandwidth of an all_reduce between its accelerators, 10^6 bytes/s; NULL: never measured';
COMMENT ON COLUMN node.measured_us IS 'When it was measured, microseconds since the epoch';
COMMENT ON COLUMN node.measure_us IS 'When it was last asked to measure itself, microseconds since the epoch';
COMMENT ON COLUMN node.state IS 'up, degraded, draining, drained, down';
