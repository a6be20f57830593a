#!/bin/bash
# slurm.sh - kill -9 of slurmctld (also losing its last seconds), slurmd, shepherds, helper and daemon.
# SPDX-License-Identifier: GPL-3.0-or-later
#
# 50 random moments (BT_KILLS) of tests/system/5004-slurm-kills.bats, on the build in BT_BUILD_ROOT.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
export BT_KILLS=${BT_KILLS:-50} BT_SEED=${BT_SEED:-$RANDOM}
said=$(bats tests/system/5004-slurm-kills.bats 2>&1)
status=$?
printf '%s\n' "$said" >&2
printf '{"soak":"slurm","seed":%s,"kills":%s,"held":%s,"totals":"%s"}\n' "$BT_SEED" "$BT_KILLS" \
    "$([ $status = 0 ] && echo true || echo false)" "$(sed -n 's/^# \([0-9]* kills.*\)/\1/p' <<<"$said")"
exit $status
