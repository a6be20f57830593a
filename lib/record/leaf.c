/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/record/leaf.h"

#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"
#include "lib/record/jcs.h"
#include "lib/record/sign.h"

static const struct {
    const char *name, *sentence;
    int signers;
} kinds[LEAF_KINDS] = {
#define K(name, text, signers, sentence) {text, sentence, signers},
#include "lib/record/kinds.def"
#undef K
};

static const char *const outcomes[LEAF_OUTCOMES] = {"completed", "failed", "cancelled", "timeout"};
static const char *const outputs[] = {"none", "incomplete", "complete"};

const char *leaf_kind_name(enum leaf_kind kind)
{
    return kinds[kind].name;
}

int leaf_kind_parse(const char *name)
{
    for (int k = 0; k < LEAF_KINDS; k++)
        if (bt_streq(name, kinds[k].name))
            return k;
    return -1;
}

const char *leaf_kind_sentence(enum leaf_kind kind)
{
    return kinds[kind].sentence;
}

int leaf_kind_signers(enum leaf_kind kind)
{
    return kinds[kind].signers;
}

void leaf_commit(const uint8_t salt[32], const void *p, size_t n, uint8_t ret[32])
{
    struct bt_sha256 h;

    bt_sha256_init(&h);
    bt_sha256_add(&h, "\2", 1);
    bt_sha256_add(&h, salt, 32);
    bt_sha256_add(&h, p, n);
    bt_sha256_end(&h, ret);
}

bool leaf_is_decimal(const char *s)
{
    const char *at = s + (*s == '-');
    size_t digits = strspn(at, "0123456789");

    if (digits == 0 || strlen(s) > 63)
        return false;
    at += digits;
    if (*at != '.')
        return *at == '\0';
    at++;
    digits = strspn(at, "0123456789");
    return digits > 0 && at[digits] == '\0';
}

char *leaf_flops_text(double flops, char out[LEAF_FLOPS_TEXT])
{
    bool told = flops > 0 && flops < 1e40;

    snprintf(out, LEAF_FLOPS_TEXT, "%.0f", told ? flops : 0.0);
    return out;
}

/* ---- writing: members in ascending order, as jcs.c asserts ---- */

static void write_rules(struct jcs *w, const struct leaf_job *job)
{
    if (!job->n_rules)
        return;
    jcs_array(w, "rules");
    for (size_t i = 0; i < job->n_rules; i++)
        jcs_str(w, NULL, job->rules[i]);
    jcs_close_array(w);
}

static void write_datasets(struct jcs *w, const struct leaf_job *job)
{
    if (!job->n_datasets)
        return;
    jcs_array(w, "datasets");
    for (size_t i = 0; i < job->n_datasets; i++) {
        jcs_object(w, NULL);
        jcs_str(w, "name", job->datasets[i].name);
        if (job->datasets[i].sha256)
            jcs_hex(w, "sha256", job->datasets[i].sha256, 32);
        jcs_close_object(w);
    }
    jcs_close_array(w);
}

static void write_uuid(struct jcs *w, const char *key, struct bt_uuid id)
{
    char text[BT_UUID_TEXT];

    jcs_str(w, key, bt_uuid_format(id, text));
}

static void write_manifest(struct jcs *w, const struct leaf_manifest *m)
{
    bool told = m->status != LEAF_OUTPUTS_NONE;

    jcs_object(w, "manifest");
    if (told) {
        jcs_decimal(w, "bytes", m->bytes);
        jcs_int(w, "files", m->files);
        jcs_hex(w, "root", m->root, sizeof m->root);
        jcs_hex(w, "sha256", m->sha256, sizeof m->sha256);
    }
    jcs_str(w, "status", outputs[m->status]);
    jcs_close_object(w);
}

static int by_metric(const void *a, const void *b)
{
    return strcmp(((const struct leaf_metric *)a)->name, ((const struct leaf_metric *)b)->name);
}

/* sorted[] are the metrics in order of their names. */
static void write_metrics(struct jcs *w, const struct leaf_metric *sorted, size_t n)
{
    if (!n)
        return;
    jcs_object(w, "metrics");
    for (size_t i = 0; i < n; i++)
        jcs_str(w, sorted[i].name, sorted[i].value);
    jcs_close_object(w);
}

static int check_job(const struct leaf_job *job, struct bt_err *err)
{
    if (!job->facility || !job->nation || !job->project || !job->person || !job->job_kind)
        return bt_fail(err, BT_ERR_INVALID,
                       "an entry names facility, nation, project, person and the job's kind");
    if (job->n_rules > LEAF_RULES_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "%zu rules in one entry", job->n_rules);
    if (job->n_datasets > LEAF_DATASETS_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "%zu data sets in one entry", job->n_datasets);
    if (job->flop_ceiling && (!leaf_is_decimal(job->flop_ceiling) || job->flop_ceiling[0] == '-'))
        return bt_fail(err, BT_ERR_INVALID, "\"%s\" is no count of operations", job->flop_ceiling);
    return 0;
}

static int check_metrics(const struct leaf_metric *sorted, size_t n, struct bt_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!bt_is_name(sorted[i].name, 63) || !leaf_is_decimal(sorted[i].value))
            return bt_fail(err, BT_ERR_INVALID, "metric \"%.64s\" is no decimal number",
                           sorted[i].name);
        if (i && bt_streq(sorted[i].name, sorted[i - 1].name))
            return bt_fail(err, BT_ERR_INVALID, "metric \"%s\" appears twice", sorted[i].name);
    }
    return 0;
}

/* What follows the body; hands the finished leaf over. */
static int close_leaf(struct jcs *w, enum leaf_kind kind, struct bt_buf *out, struct bt_err *err)
{
    int rc;

    jcs_str(w, "kind", leaf_kind_name(kind));
    jcs_int(w, "v", LEAF_VERSION);
    jcs_close_object(w);
    rc = jcs_end(w, err);
    if (rc == 0)
        bt_buf_add(out, w->to->p, w->to->n);
    return rc;
}

int leaf_submit_build(const struct leaf_submit *in, struct bt_buf *out, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {.max = LEAF_MAX};
    struct jcs w = {.to = &text};
    const struct leaf_job *job = &in->job;
    int rc = check_job(job, err);

    if (rc < 0)
        return rc;
    jcs_object(&w, NULL);
    jcs_object(&w, "body");
    jcs_int(&w, "accelerators", job->accelerators);
    jcs_str(&w, "class", job->class);
    write_datasets(&w, job);
    jcs_int(&w, "embargo_days", in->embargo_days);
    jcs_str(&w, "facility", job->facility);
    jcs_str(&w, "flop_ceiling", job->flop_ceiling);
    jcs_decimal(&w, "held_mras", job->held_mras);
    write_uuid(&w, "job", job->job);
    jcs_str(&w, "job_kind", job->job_kind);
    jcs_str(&w, "nation", job->nation);
    jcs_int(&w, "number", job->number);
    jcs_str(&w, "person", job->person);
    jcs_hex(&w, "policy_sha256", job->policy_sha256, sizeof job->policy_sha256);
    jcs_str(&w, "project", job->project);
    jcs_int(&w, "publish_days", in->publish_days);
    write_rules(&w, job);
    jcs_hex(&w, "spec_commitment", job->spec_commitment, sizeof job->spec_commitment);
    jcs_time(&w, "submitted", job->submitted_us);
    jcs_int(&w, "tier", job->tier);
    jcs_int(&w, "walltime_s", in->walltime_s);
    jcs_close_object(&w);
    return close_leaf(&w, LEAF_SUBMIT, out, err);
}

static void write_record(struct jcs *w, const struct leaf_record *in,
                         const struct leaf_metric *sorted)
{
    const struct leaf_job *job = &in->job;

    jcs_object(w, "body");
    jcs_int(w, "accelerators", job->accelerators);
    jcs_int(w, "attempts", in->attempts);
    jcs_decimal(w, "charged_mras", in->charged_mras);
    jcs_str(w, "class", job->class);
    write_datasets(w, job);
    jcs_time(w, "ended", in->ended_us);
    if (in->exit_code >= 0)
        jcs_int(w, "exit_code", in->exit_code);
    jcs_str(w, "facility", job->facility);
    jcs_str(w, "flop_ceiling", job->flop_ceiling);
    jcs_decimal(w, "held_mras", job->held_mras);
    write_uuid(w, "job", job->job);
    jcs_str(w, "job_kind", job->job_kind);
    write_manifest(w, &in->manifest);
    write_metrics(w, sorted, in->n_metrics);
    jcs_str(w, "name", in->name);
    jcs_str(w, "nation", job->nation);
    jcs_int(w, "number", job->number);
    jcs_str(w, "outcome", outcomes[in->outcome]);
    jcs_str(w, "person", job->person);
    jcs_hex(w, "policy_sha256", job->policy_sha256, sizeof job->policy_sha256);
    jcs_str(w, "project", job->project);
    jcs_time(w, "publish_by", in->publish_by_us);
    jcs_str(w, "reason", in->reason);
    write_rules(w, job);
    if (in->signal > 0)
        jcs_int(w, "signal", in->signal);
    jcs_hex(w, "spec_commitment", job->spec_commitment, sizeof job->spec_commitment);
    jcs_time(w, "started", in->started_us);
    jcs_time(w, "submitted", job->submitted_us);
    jcs_int(w, "tier", job->tier);
    jcs_close_object(w);
}

int leaf_record_build(const struct leaf_record *in, struct bt_buf *out, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {.max = LEAF_MAX};
    struct leaf_metric sorted[LEAF_METRICS_MAX];
    struct jcs w = {.to = &text};
    int rc = check_job(&in->job, err);

    if (rc == 0 && in->n_metrics > LEAF_METRICS_MAX)
        rc = bt_fail(err, BT_ERR_TOO_LARGE, "%zu metrics in one record", in->n_metrics);
    if (rc < 0)
        return rc;
    if (in->n_metrics) {
        memcpy(sorted, in->metrics, in->n_metrics * sizeof *sorted);
        qsort(sorted, in->n_metrics, sizeof *sorted, by_metric);
        rc = check_metrics(sorted, in->n_metrics, err);
    }
    if (rc < 0)
        return rc;
    jcs_object(&w, NULL);
    write_record(&w, in, sorted);
    return close_leaf(&w, LEAF_RECORD, out, err);
}
