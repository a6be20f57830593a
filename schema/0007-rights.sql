-- 0007 - who may read: roles are the cluster's, so they may be there already.
-- SPDX-License-Identifier: GPL-3.0-or-later

DO $$
DECLARE
    r text;
BEGIN
    FOREACH r IN ARRAY ARRAY['beamtime_read', 'beamtime_public'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', r);
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', r);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION core_advance FROM PUBLIC;
GRANT SELECT ON ledger_head, ledger_entry, checkpoint, cosignature TO beamtime_public;
GRANT SELECT ON core_head, event, policy, nation, institution, person, project, member, site, node,
    rate, unixmap, account, entry, ledger_head, ledger_entry, checkpoint, cosignature, job_edge,
    job_reach, job, attempt, alloc, promise TO beamtime_read;
