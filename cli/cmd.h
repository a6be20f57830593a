/* cmd.h - the handlers behind the command table. Each returns an exit status, or a negative error.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CLI_CMD_H
#define BT_CLI_CMD_H

#include "cli/app.h"

#define CMD(name) int name(struct app *app, const struct cli_args *a, struct bt_err *err)
CMD(cmd_enrol);
CMD(cmd_renew);
CMD(cmd_whoami);
CMD(cmd_profile_list);
CMD(cmd_profile_use);
CMD(cmd_submit);
CMD(cmd_run);
CMD(cmd_queue);
CMD(cmd_job_list);
CMD(cmd_job_show);
CMD(cmd_job_cancel);
CMD(cmd_job_wait);
CMD(cmd_job_log);
CMD(cmd_job_curve);
CMD(cmd_job_hold);
CMD(cmd_job_release);
CMD(cmd_explain);
CMD(cmd_result);
CMD(cmd_quota_show);
CMD(cmd_quota_set);
CMD(cmd_nation_list);
CMD(cmd_nation_set);
CMD(cmd_institution_list);
CMD(cmd_institution_set);
CMD(cmd_project_list);
CMD(cmd_project_set);
CMD(cmd_person_list);
CMD(cmd_person_set);
CMD(cmd_member_set);
CMD(cmd_member_remove);
CMD(cmd_clearance_set);
CMD(cmd_clearance_request);
CMD(cmd_token_new);
CMD(cmd_credential_revoke);
CMD(cmd_site_list);
CMD(cmd_site_set);
CMD(cmd_site_add);
CMD(cmd_site_show);
CMD(cmd_site_check);
CMD(cmd_site_diff);
CMD(cmd_site_report);
CMD(cmd_site_drain);
CMD(cmd_site_remove);
CMD(cmd_person_map);
CMD(cmd_rate_list);
CMD(cmd_rate_set);
CMD(cmd_guarantee_list);
CMD(cmd_guarantee_set);
CMD(cmd_outage_list);
CMD(cmd_dataset_list);
CMD(cmd_dataset_add);
CMD(cmd_dataset_remove);
CMD(cmd_reservation_list);
CMD(cmd_reservation_add);
CMD(cmd_reservation_show);
CMD(cmd_reservation_remove);
CMD(cmd_outage_add);
CMD(cmd_outage_end);
CMD(cmd_unixmap_set);
CMD(cmd_node_list);
CMD(cmd_node_summary);
CMD(cmd_node_set);
CMD(cmd_node_show);
CMD(cmd_node_drain);
CMD(cmd_node_measure);
CMD(cmd_node_resume);
CMD(cmd_ledger_list);
CMD(cmd_ledger_show);
CMD(cmd_ledger_verify);
CMD(cmd_status);
CMD(cmd_report_fairness);
CMD(cmd_report_promises);
CMD(cmd_policy);
CMD(cmd_audit);
CMD(cmd_version);
CMD(cmd_completion);

/* ---- shared by several handlers ---- */

/* Follows a job to its end: waits, streams its log (a training's metrics as a bar), says how it
 * ended. `state` is the last one known, "" if none. Returns the job's exit status. */
enum follow { FOLLOW_WAIT, FOLLOW_LOG };
int follow_job(struct app *app, const char *job, const char *state, enum follow how,
               struct bt_err *err) BT_MUSTUSE;

/* Copies a stream of a job to `to` from its beginning: with `on`, until it is complete. */
struct stream_ask {
    const char *job;
    const char *stream;
    int64_t attempt; /* 0: the last */
    bool on;
};
int stream_copy(struct app *app, const struct stream_ask *ask,
                void (*to)(void *arg, const char *p, size_t n), void *arg,
                struct bt_err *err) BT_MUSTUSE;
void stream_stdout(void *arg, const char *p, size_t n);

/* What the plan says of a job that is only asked about. */
void explain_dry(const struct json *e, struct bt_buf *to);

/* Calls `f` for each of JOBS: a number, an id, or the numbers of an array, 12-111; stops at an
 * error. Returns the largest status. BT_ERR_USAGE. */
int each_job(const char *jobs, int (*f)(void *arg, const char *job, struct bt_err *err), void *arg,
             struct bt_err *err) BT_MUSTUSE;

/* "cz", "cz/multilingual" or "cz/multilingual/ana"; "" where nothing is said */
struct quota_who {
    char nation[16], project[64], person[64];
};
/* Replays what ran since then with and without what the new grant of `change` (a dry run's answer)
 * would have refused, and tells how long everybody waits. */
int quota_simulate(struct app *app, const struct quota_who *who, const struct json *change,
                   int64_t since_us, struct bt_err *err) BT_MUSTUSE;

/* As when_arg, but "7d" is seven days ago. */
int past_arg(const char *text, const char *what, int64_t *ret_us, struct bt_err *err) BT_MUSTUSE;

/* A date, a time or a duration from now ("365d") -> µs. */
int when_arg(const char *text, const char *what, int64_t *ret_us, struct bt_err *err) BT_MUSTUSE;

#endif
