-- 0023 - the switches of a node: as its cluster names them, and as its agent numbers them.
-- SPDX-License-Identifier: GPL-3.0-or-later

ALTER TABLE node ADD COLUMN leaf_switch text;
ALTER TABLE node ADD COLUMN pod_switch text;
ALTER TABLE node ADD COLUMN agent_leaf integer NOT NULL DEFAULT 0;
ALTER TABLE node ADD COLUMN agent_pod integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN node.leaf_switch IS 'Its switch in the topology of its cluster; NULL: the cluster names none';
COMMENT ON COLUMN node.pod_switch IS 'The switch above that one, or itself where there is none';
COMMENT ON COLUMN node.agent_leaf IS 'Number of its leaf switch in its agent''s configuration; 0: not told';
COMMENT ON COLUMN node.agent_pod IS 'Number of its pod there; 0: not told';
COMMENT ON COLUMN node.leaf IS 'Number of its leaf switch: of leaf_switch where there is one, else agent_leaf';
COMMENT ON COLUMN node.pod IS 'Number of its pod (several leaves): of pod_switch, else agent_pod';

UPDATE node SET agent_leaf = leaf, agent_pod = pod;
