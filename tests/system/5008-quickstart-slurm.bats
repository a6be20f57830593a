#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# The first five minutes with Slurm: a training over the four nodes of a cluster on this machine.
# serial

load lib
load slurm

setup_file() {
    slurm_needed
    STATE=$(mktemp -d "${TMPDIR:-/tmp}/beamtime-quickstart.XXXXXX")
    chmod 711 "$STATE"
    export STATE BT_BUILD_ROOT=$BUILD QUICKSTART_STEPS=6
    small_corpus "$STATE/corpus"
}
teardown_file() {
    [ -n "${STATE-}" ] || return 0
    quickstart stop >/dev/null
    rm -rf -- "$STATE"
}
quickstart() { "$SOURCE/deploy/quickstart" --slurm "$@" --state-dir "$STATE"; }
ours() { pgrep -af "$STATE/" || pgrep -af "munged.*$STATE"; }
nothing_left() { ! ours; }

@test "the main job runs over four Slurm nodes and its record verifies" {
    run -0 quickstart
    [[ "$output" == *"slurmctld and 4 slurmd"*" 0 wrong"* ]]
    [[ "$output" == *"c1: 1 × cpu, c2: 1 × cpu, c3: 1 × cpu, c4: 1 × cpu"* ]]
    [[ "$output" == *verified*"inclusion ok"*"files ok"* ]]
    export BEAMTIME_CONFIG_DIR=$STATE/config
    job=$("$BEAMTIME" --profile ondrej job list --mine --limit 1 -o name)
    run -0 "$BEAMTIME" --profile ondrej job show "$job" --json
    [ "$(jq -r .state <<<"$output")" = completed ]
    [ "$(jq .accelerators <<<"$output")" = 4 ]
    [ "$(SLURM_CONF=$STATE/slurm/slurm.conf squeue -h -t completed -o %D)" = 4 ]
}

@test "stop ends agents, daemon and cluster; run again finds them all" {
    run -0 quickstart stop
    [[ "$output" == *"agent c4"*stopped*daemon*stopped*cluster*stopped* ]]
    await 30 nothing_left
    run -0 quickstart
    [[ "$output" == *verified*"seen before"* ]]
}

@test "clean leaves nothing" {
    run -0 quickstart clean
    [ ! -e "$STATE" ]
    await 10 nothing_left # what was killed is gone a moment later
}
