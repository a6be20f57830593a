-- 0024 - when the facility tried an attempt's nodes: that time is its own.
-- SPDX-License-Identifier: GPL-3.0-or-later

ALTER TABLE attempt ADD COLUMN trial_us bigint CHECK (trial_us >= wanted_us);
COMMENT ON COLUMN attempt.trial_us IS 'When its nodes were first tried before its claim, microseconds since the epoch: from then to the claim nothing is charged; NULL: never';
