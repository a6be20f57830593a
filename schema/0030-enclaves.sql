-- 0030 - what jobs a node takes is what its site is cleared for, unless the node is bounded lower.
-- SPDX-License-Identifier: GPL-3.0-or-later

-- It was 1 for each node, whatever its site; nobody could set it.
UPDATE node SET tier = 4;
COMMENT ON COLUMN node.tier IS 'Highest tier of jobs it takes, within what its site is cleared for';
