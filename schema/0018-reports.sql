-- 0018 - what the facility owes an account of: shares of the nations, promises kept.
-- SPDX-License-Identifier: GPL-3.0-or-later

ALTER TABLE promise ADD COLUMN plan_us bigint;
COMMENT ON COLUMN promise.plan_us IS 'The start that was planned when it was given, microseconds since the epoch';
CREATE INDEX attempt_wanted ON attempt USING brin (wanted_us) WITH (pages_per_range = 32);
COMMENT ON INDEX attempt_wanted IS 'Reports look at the attempts of a period';

-- Accelerator-seconds of [since, until), attempts that still run counted until then. A guarantee that began later
-- stands in the place of an earlier one as long as it lasts.
CREATE FUNCTION report_fairness(since_us bigint, until_us bigint)
RETURNS TABLE (nation text, entitled bigint, used bigint, owned bigint, jobs bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH edge AS (
        SELECT $1 AS a UNION SELECT g.from_us FROM guarantee g WHERE g.from_us > $1 AND g.from_us < $2
        UNION SELECT g.until_us FROM guarantee g WHERE g.until_us > $1 AND g.until_us < $2
    ), span AS (SELECT a, coalesce(lead(a) OVER (ORDER BY a), $2) AS b FROM edge),
    due AS (
        SELECT n.id, sum((s.b - s.a) / 1000000 * coalesce((SELECT g.accelerators FROM guarantee g
            WHERE g.nation = n.id AND g.from_us <= s.a AND s.a < g.until_us
            ORDER BY g.from_us DESC LIMIT 1), 0)) AS acc_s
        FROM nation n, span s GROUP BY n.id
    ), held AS (
        SELECT j.nation, sum(t.acc_s) AS acc_s, sum(t.acc_s) FILTER (WHERE a.owned = 1) AS owned_acc_s,
            count(DISTINCT j.id) AS jobs
        FROM attempt a JOIN job j ON j.id = a.job, LATERAL (SELECT
            (least(coalesce(a.ended_us, $2), $2) - greatest(a.wanted_us, $1)) / 1000000
                * coalesce(a.accelerators, j.accelerators) AS acc_s) t
        WHERE a.wanted_us < $2 AND a.wanted_us > $1 - 32 * 86400000000::bigint -- the longest walltime and its grace
          AND (a.ended_us IS NULL OR a.ended_us > $1) AND $1 < $2
        GROUP BY j.nation
    )
    SELECT n.code, greatest(d.acc_s, 0)::bigint, coalesce(h.acc_s, 0)::bigint,
        coalesce(h.owned_acc_s, 0)::bigint, coalesce(h.jobs, 0)
    FROM nation n JOIN due d ON d.id = n.id LEFT JOIN held h ON h.nation = n.id
$$;
COMMENT ON FUNCTION report_fairness IS 'What each nation could claim and what it held, in accelerator-seconds';

-- Attempts that started in [since, until), each with the promises that it was given.
CREATE FUNCTION report_starts(since_us bigint, until_us bigint)
RETURNS TABLE (wanted_us bigint, first_by_us bigint, last_by_us bigint, plan_us bigint, cause text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT a.wanted_us, f.start_by_us, l.start_by_us, f.plan_us,
        CASE WHEN l.start_by_us <> f.start_by_us THEN lower(split_part(l.cause, ' ', 1)) END
    FROM attempt a
    LEFT JOIN attempt b ON b.job = a.job AND b.n = a.n - 1
    LEFT JOIN LATERAL (SELECT p.start_by_us, p.plan_us FROM promise p WHERE p.job = a.job
        AND p.given_us <= a.wanted_us AND p.given_us > coalesce(b.wanted_us, 0)
        ORDER BY p.given_us LIMIT 1) f ON true
    LEFT JOIN LATERAL (SELECT p.start_by_us, p.cause FROM promise p WHERE p.job = a.job
        AND p.given_us <= a.wanted_us AND p.given_us > coalesce(b.wanted_us, 0)
        ORDER BY p.given_us DESC LIMIT 1) l ON true
    WHERE a.wanted_us >= $1 AND a.wanted_us < $2
$$;
COMMENT ON FUNCTION report_starts IS 'Every start of a period beside what was promised for it; nulls where it started before a promise';
GRANT EXECUTE ON FUNCTION report_fairness, report_starts TO beamtime_read, beamtime_public;
