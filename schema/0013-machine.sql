-- 0013 - the machine as everybody may see it.
-- SPDX-License-Identifier: GPL-3.0-or-later
CREATE VIEW machine AS
SELECT d.id, s.name AS site, d.pod, d.leaf, d.n_acc, d.all_mask, d.busy, d.state
FROM node d JOIN site s ON s.id = d.site WHERE s.state <> 'removed';
COMMENT ON VIEW machine IS 'Nodes without names, reasons or what runs: for the public heat map';
GRANT SELECT ON machine TO beamtime_public, beamtime_read;
