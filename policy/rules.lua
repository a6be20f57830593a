-- rules.lua - which work belongs to which tier, and what is not done here at all.
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- A rule raises the tier or forbids while its condition holds or cannot be
-- told, from `since` until `before` (if it ends); the highest tier counts, a
-- forbid overrides, nothing lowers. README.md says how to change one;
-- tests/rules.cases must still pass and cover it.
-- Each number is the council's proposal unless `cite` names a law.
return {
    {
        id = "BASE-1", tier = 1, since = "2026-01-01",
        when = any(gt("flop.lineage", 1e20), gt("accels", 64)),
        reason = "{flop.lineage} FLOP on {accels} accelerators is research use, not an open bench",
        cite = "house rule",
    },
    {
        id = "GPAI-2", tier = 2, since = "2026-01-01",
        when = ge("flop.lineage", 1e23),
        reason = "lineage compute {flop.lineage} reaches 1e23 FLOP, indicative of a general-purpose model",
        cite = "EC guidelines on general-purpose AI models, 18 July 2025",
    },
    {
        id = "PERS-2", tier = 2, since = "2026-01-01",
        when = any(has("data", "personal"), has("domain", "medical"), has("domain", "surveillance")),
        reason = "personal or medical data needs the home nation's data officer",
        cite = "Regulation (EU) 2016/679 art. 6",
    },
    {
        id = "BIO-2", tier = 2, since = "2026-01-01",
        when = any(has("domain", "bio"), has("domain", "chem"), has("data", "bio-sequence")),
        reason = "biological or chemical design work, at any compute",
        cite = "house rule: compute is a weak proxy for biological tools",
    },
    {
        id = "SPEC-3", tier = 3, since = "2026-01-01",
        when = has("data", "special-category"),
        reason = "special categories of personal data",
        cite = "Regulation (EU) 2016/679 art. 9",
    },
    {
        id = "SYS-3", tier = 3, since = "2026-01-01",
        when = ge("flop.lineage", 1e25),
        reason = "lineage compute {flop.lineage} reaches 1e25 FLOP: presumed systemic risk",
        cite = "Regulation (EU) 2024/1689 art. 51(2)",
    },
    {
        id = "BIO-3", tier = 3, since = "2026-01-01",
        when = all(has("data", "bio-sequence"), ge("flop.lineage", 1e22)),
        reason = "biological sequence data at {flop.lineage} FLOP (threshold 1e22)",
        cite = "a tenth of the 1e23 FLOP of US EO 14110 sec. 4.2(b)(i), revoked 2025",
    },
    {
        id = "CYB-3", tier = 3, since = "2026-01-01",
        when = all(has("data", "cyber-exploit"), any(eq("purpose", "train"), eq("purpose", "finetune"))),
        reason = "training on exploit data ({purpose})",
        cite = "house rule",
    },
    {
        id = "HAZ-3", tier = 3, since = "2026-01-01",
        when = eq("purpose", "hazard-eval"),
        reason = "eliciting dangerous capabilities, at any compute",
        cite = "house rule: safety laboratories with defined security levels",
    },
    {
        id = "FRON-4", tier = 4, since = "2026-01-01",
        when = ge("flop.lineage", 1e26),
        reason = "lineage compute {flop.lineage} reaches 1e26 FLOP",
        cite = "California SB 53; US EO 14110 sec. 4.2(b)(i), revoked 2025",
    },
    {
        id = "BIO-4", tier = 4, since = "2026-01-01",
        when = all(has("data", "bio-sequence"), ge("flop.lineage", 1e24)),
        reason = "biological sequence data at {flop.lineage} FLOP (threshold 1e24)",
        cite = "house rule",
    },
    {
        id = "WEAP-X", forbid = true, since = "2026-01-01",
        when = has("domain", "weapons"),
        reason = "the facility serves civil research only",
        cite = "Regulation (EU) 2021/1173 art. 16(1)",
    },
    {
        id = "SECR-X", forbid = true, since = "2026-01-01",
        when = has("data", "secret"),
        reason = "results of secret data cannot be published",
        cite = "publication duty",
    },
    {
        -- Whoever is overdue could declare any purpose; the kind is what the
        -- facility starts, and a collective benchmark has nothing to publish.
        id = "PUB-X", forbid = true, since = "2026-01-01",
        when = all(ge("user.publish_due", 1), no(eq("kind", "coll"))),
        reason = "{user.publish_due} result(s) of this project are overdue; publish them first",
        cite = "publication duty",
    },
}
