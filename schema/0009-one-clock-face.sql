-- 0009 - times have one spelling, rfc3339(); the first one has no caller left.
-- SPDX-License-Identifier: GPL-3.0-or-later

DROP FUNCTION utc_text(bigint);
