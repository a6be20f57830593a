-- tiers.lua - what each containment tier asks for; the council's numbers.
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- approvals       distinct nations that must agree (the home nation counts once)
-- approvals_num/den  or this fraction of all nations, rounded up, if that is more
-- reviewers       safety reviewers who must agree besides
-- approval_days   an approval that was not used lapses after
-- clearance_days  longest life of a person's clearance (0: none is needed)
-- protocol_days   longest life of a project's safety protocol
-- embargo_days    longest embargo of a result
-- result_days     the researcher's result is due after the job's end
-- review_days     work that goes on is reviewed every (0: never)
-- assurance, mfa  how sure we are who the person is
-- two_person      two people release what comes out
-- egress          the widest network that the job may see
-- preflight_nodes gangs of at least so many nodes run a short collective before they start (0: none)
--
-- No tier may ask for less than the one below it: loading refuses that.
return {
    [0] = {
        name = "open",
        approvals = 0, approvals_num = 0, approvals_den = 1, reviewers = 0, approval_days = 0,
        clearance_days = 0, protocol_days = 1825, embargo_days = 30, result_days = 30,
        review_days = 0, assurance = "low", mfa = false, two_person = false, egress = "open",
        preflight_nodes = 8,
    },
    {
        name = "standard",
        approvals = 0, approvals_num = 0, approvals_den = 1, reviewers = 0, approval_days = 0,
        clearance_days = 1825, protocol_days = 1825, embargo_days = 180, result_days = 60,
        review_days = 0, assurance = "medium", mfa = false, two_person = false, egress = "open",
        preflight_nodes = 8,
    },
    {
        name = "supervised",
        approvals = 1, approvals_num = 0, approvals_den = 1, reviewers = 0, approval_days = 90,
        clearance_days = 1095, protocol_days = 1095, embargo_days = 365, result_days = 90,
        review_days = 0, assurance = "medium", mfa = true, two_person = false,
        egress = "allowlist", preflight_nodes = 8,
    },
    {
        name = "contained",
        approvals = 3, approvals_num = 0, approvals_den = 1, reviewers = 1, approval_days = 30,
        clearance_days = 365, protocol_days = 365, embargo_days = 730, result_days = 90,
        review_days = 0, assurance = "high", mfa = true, two_person = true, egress = "none",
        preflight_nodes = 8,
    },
    {
        name = "maximum",
        approvals = 3, approvals_num = 2, approvals_den = 3, reviewers = 2, approval_days = 14,
        clearance_days = 180, protocol_days = 180, embargo_days = 1095, result_days = 90,
        review_days = 182, assurance = "high", mfa = true, two_person = true, egress = "none",
        preflight_nodes = 8,
    },
}
