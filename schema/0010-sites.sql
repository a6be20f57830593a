-- 0010 - what a site's cluster needs to be reached.
-- SPDX-License-Identifier: GPL-3.0-or-later

ALTER TABLE site ADD COLUMN conf text;
COMMENT ON COLUMN site.conf IS 'JSON text: slurm.conf, partition, account … of a Slurm cluster; NULL for a local site';
COMMENT ON COLUMN site.state IS 'up, draining or removed';
