-- 0029 - where sites give out the files of jobs that stay in their storage.
-- SPDX-License-Identifier: GPL-3.0-or-later

CREATE VIEW public_blobs AS
SELECT name AS site, conf::json ->> 'blobs' AS url FROM site WHERE conf::json ->> 'blobs' <> '';
COMMENT ON VIEW public_blobs IS 'Web servers of sites that keep blobs, also of sites that are removed: what was published stays';
GRANT SELECT ON public_blobs TO beamtime_public, beamtime_read;
