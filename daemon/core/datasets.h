/* datasets.h - the data sets that sites declare, and the lists of them that jobs ask for. Private
 * to daemon/core. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A job keeps the number of its list; the planner is told which sites hold all of a list (a bit
 * each, plan.h), so that it costs a job without data sets nothing. */
#ifndef BT_DAEMON_CORE_DATASETS_H
#define BT_DAEMON_CORE_DATASETS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/rows.h"
#include "lib/base/buf.h"
#include "lib/domain/dataset.h"
#include "lib/record/leaf.h"

struct core;
struct doing;
struct job;

struct dataset {
    struct row_dataset row; /* name NULL: a place of its site for the next declaration */
};

/* Names that some job asks for together. */
struct data_list {
    uint32_t word;   /* "c4 fineweb-2", as dataset_add makes it */
    uint32_t stores; /* plan_pending.stores */
};

/* The number of a list of names, from 1; 0 for "", or when there is no room for one more. */
uint16_t data_list_of(struct core *c, const char *names);
bool data_room(const struct core *c);                        /* for one more list */
const char *data_names(const struct core *c, uint32_t list); /* "" for 0 */
/* Sites that hold all of them, as plan_pending.stores: 0 for "", PLAN_NO_STORE if none does. */
uint32_t data_stores(const struct core *c, const char *names);
/* Does the site hold all of the list? */
bool data_held(const struct core *c, uint32_t list, int32_t site);
/* Sites that hold the job's data and know its person, as plan_pending.stores. */
uint32_t stores_of(const struct core *c, const struct job *j);
uint32_t stores_meet(uint32_t a, uint32_t b); /* both are such */
bool site_serves(const struct core *c, const struct job *j, int32_t site);
void person_added(struct core *c); /* nobody has mapped it yet */
/* What is missing: "data set c4: no site holds it". */
void data_lack(const struct core *c, const char *names, struct bt_buf *to);
/* What was declared, mapped, or a site's state, has changed: the plan and the lists follow. */
void data_changed(struct core *c);

/* Where the data of a list lies at a site and its digests: a JSON array, owned; NULL for list 0.
 * An attempt keeps it from its start. */
char *data_found(const struct core *c, uint32_t list, int32_t site);

/* What the ledger says of a job's data; borrowed by a leaf_job. */
struct data_leaf {
    struct leaf_dataset v[JOB_DATASETS];
    char names[JOB_DATASETS][DATASET_NAME_MAX];
    uint8_t sha256[JOB_DATASETS][32];
    size_t n;
};
void data_leaf_of(const struct core *c, const struct job *j, struct data_leaf *ret);

int do_dataset(struct core *c, struct doing *d);

#endif
