/* carry.h - the helper of a Slurm cluster at its site: keeps beamtime-slurm and carries its frames
 * to the facility, over requests that this machine makes. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The certificate is of kind helper and names the site (`beamtime token new SITE --kind helper`). A
 * session is one life of beamtime-slurm and one number that the facility gave: when a request
 * fails, when beamtime-slurm ends, when the facility has given up, both end and the next begins
 * after 1, 2, 4 … 30 s. What was under way is then in doubt, and the facility looks for it by its
 * comment in the cluster. Nothing is kept here. */
#ifndef BT_AGENT_CARRY_H
#define BT_AGENT_CARRY_H

#include "agent/settings.h"

/* Carries for ever. BT_ERR_NOT_FOUND when this is not enrolled or there is no beamtime-slurm in
 * libexec_dir. */
int carry_run(const struct settings *set, const char *slurm_conf, struct bt_err *err) BT_MUSTUSE;

#endif
