/* leaf.h - the entries of the ledger: what each says and the one way to spell it.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   {"body":{...},"kind":"record","sigs":[{"key":HEX,"role":"researcher","sig":BASE64}],"v":1}
 *
 * in the restricted JCS of jcs.h ("sigs" is left out when there is none). Amounts and metrics are
 * decimal strings, times RFC 3339 strings, digests lower-case hex. A leaf never holds a bare
 * digest of something guessable (that is what leaf_commit is for) nor a person's name: `person`
 * is a pseudonymous id whose name lives in an erasable table.
 * Pure; thread safe. */
#ifndef BT_RECORD_LEAF_H
#define BT_RECORD_LEAF_H

#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/uuid.h"
#include "lib/json/json.h"

enum {
    LEAF_VERSION = 1,
    LEAF_MAX = 8192,       /* what we write: PostgreSQL keeps it in few pages */
    LEAF_HARD_MAX = 65535, /* what anybody may read: the uint16 of an entry bundle (C2SP) */
    LEAF_METRICS_MAX = 32,
    LEAF_RULES_MAX = 32,
    LEAF_DATASETS_MAX = 8,
    LEAF_SIGS_MAX = 8,
    LEAF_FLOPS_TEXT = 48,
};

enum leaf_kind {
#define K(name, text, signers, sentence) LEAF_##name,
#include "lib/record/kinds.def"
#undef K
    LEAF_KINDS
};

const char *leaf_kind_name(enum leaf_kind kind); /* "submit"; static */
int leaf_kind_parse(const char *name);           /* an enum leaf_kind, or -1 */
const char *leaf_kind_sentence(enum leaf_kind kind);
int leaf_kind_signers(enum leaf_kind kind); /* signatures that it needs at least */

enum leaf_outcome { LEAF_COMPLETED, LEAF_FAILED, LEAF_CANCELLED, LEAF_TIMEOUT, LEAF_OUTCOMES };
enum leaf_outputs { LEAF_OUTPUTS_NONE, LEAF_OUTPUTS_INCOMPLETE, LEAF_OUTPUTS_COMPLETE };

struct leaf_manifest {
    enum leaf_outputs status; /* NONE: the rest is not told */
    uint8_t root[32];         /* see manifest.h */
    uint8_t sha256[32];       /* of the manifest's text: its address in the blob store */
    int64_t files;
    int64_t bytes;
};

struct leaf_metric {
    const char *name;  /* bt_is_name, at most 63 bytes */
    const char *value; /* decimal: leaf_is_decimal */
};

/* A data set that the job asked for. */
struct leaf_dataset {
    const char *name;
    const uint8_t *sha256; /* of its manifest, as declared when the attempt started; NULL: not */
};

/* What a job is, told by both of its entries. Strings that are NULL are left out, as are times
 * that are 0. */
struct leaf_job {
    const char *facility; /* "beamtime.example" */
    struct bt_uuid job;
    int64_t number;      /* the short number shown to people */
    const char *nation;  /* "cz" */
    const char *project; /* "multilingual" */
    const char *person;  /* pseudonymous id */
    int32_t tier;
    const char *job_kind; /* "train" */
    int32_t accelerators;
    const char *class;
    int64_t held_mras;
    const char *flop_ceiling; /* decimal; leaf_flops_text */
    uint8_t spec_commitment[32];
    uint8_t policy_sha256[32];
    const char *const *rules; /* ids of the rules that applied */
    size_t n_rules;
    int64_t submitted_us;
    const struct leaf_dataset *datasets; /* by name */
    size_t n_datasets;
};

/* `submit`: appended in the transaction of the first start, before anything ran. */
struct leaf_submit {
    struct leaf_job job;
    int64_t walltime_s;
    int32_t publish_days; /* the result is due this long after the end */
    int32_t embargo_days;
};

/* `record`: appended in the transaction that makes the job terminal. */
struct leaf_record {
    struct leaf_job job;
    const char *name;
    int32_t attempts;
    enum leaf_outcome outcome;
    int32_t exit_code;  /* -1: no rank ended by itself */
    int32_t signal;     /* 0: none */
    const char *reason; /* one sentence: why it ended so */
    int64_t started_us; /* 0: it never started */
    int64_t ended_us;
    int64_t charged_mras;
    struct leaf_manifest manifest;
    const struct leaf_metric *metrics; /* in any order; no name twice */
    size_t n_metrics;
    int64_t publish_by_us; /* when the researcher's result is due */
};

/* Append the canonical leaf to `out`. BT_ERR_INVALID names the field that cannot be told,
 * BT_ERR_TOO_LARGE above LEAF_MAX; then `out` is as before. */
int leaf_submit_build(const struct leaf_submit *in, struct bt_buf *out,
                      struct bt_err *err) BT_MUSTUSE;
int leaf_record_build(const struct leaf_record *in, struct bt_buf *out,
                      struct bt_err *err) BT_MUSTUSE;

struct leaf_sig {
    char role[24];   /* "researcher", "agent", "operator", … */
    uint8_t key[32]; /* the Ed25519 public key; that it is the role's is the reader's to check */
    uint8_t sig[64]; /* over the body: record_sign of lib/record/sign.h */
};

/* Any kind, from a canonical body (jcs_value of a parsed document, or written with jcs.h).
 * BT_ERR_INVALID unless body is a canonical object and the kind has its signatures;
 * BT_ERR_SIGNATURE unless each of them verifies. */
int leaf_build(enum leaf_kind kind, const char *body, size_t n_body, const struct leaf_sig *sigs,
               size_t n_sigs, struct bt_buf *out, struct bt_err *err) BT_MUSTUSE;

/* ---- reading ---- */

struct leaf {
    enum leaf_kind kind;
    const struct json *body; /* borrowed from root */
    struct leaf_sig sigs[LEAF_SIGS_MAX];
    size_t n_sigs;
    struct json *root;
};

/* BT_ERR_INVALID unless text[n] is a leaf in its one spelling; BT_ERR_TOO_LARGE above
 * LEAF_HARD_MAX; BT_ERR_SIGNATURE unless each signature is of its key. */
int leaf_parse(const char *text, size_t n, struct leaf *ret, struct bt_err *err) BT_MUSTUSE;
void leaf_done(struct leaf *leaf);
#define LEAF_AUTO BT_CLEANUP(leaf_done)

/* ---- small things ---- */

/* SHA-256(0x02 || salt || bytes): hides guessable text until salt and bytes are revealed. */
void leaf_commit(const uint8_t salt[32], const void *p, size_t n, uint8_t ret[32]);

/* "-12.5": an optional minus, digits, optionally a point and digits; at most 63 characters. */
bool leaf_is_decimal(const char *s);

/* A count of floating-point operations as decimal digits ("41000000000000000000000"). */
char *leaf_flops_text(double flops, char out[LEAF_FLOPS_TEXT]);

#endif
