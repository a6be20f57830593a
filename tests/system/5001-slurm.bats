#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016 # jobs expand their own variables
# A real Slurm under the facility: jobs run there, and its troubles are told and survived.

load lib
load slurm

setup_file() {
    slurm_needed
    facility_start
    people_start
    site_start geneva 4
}

start() { # SCRIPT [OPTION...]
    local script=$BATS_TEST_TMPDIR/job.sh
    printf '#!/bin/sh\n%s\n' "$1" >"$script"
    shift
    as ana -q submit --class h200 --time 5m --grace 1s "$@" "$script"
}

@test "a site shows its cluster, and nothing differs" {
    run -0 as council site show geneva
    [[ "$output" == *"reachable     yes"* ]]
    [[ "$output" == *"Slurm 22.05"* ]]
    run -0 as council site diff geneva --json
    [ "$(jq '.items | length' <<<"$output")" = 0 ]
    run -0 as council site list -o csv
    [[ "$output" == *"geneva,slurm,1,up,4,4,32"* ]]
}

@test "a job runs on its node, in Slurm, as another user, and is published" {
    job=$(start 'echo "$SLURM_JOB_ID $(id -un) $SLURMD_NODENAME"; echo result > "$BEAM_OUTPUT/r"' -n 8)
    run -0 as ana job wait "$job"
    run -0 as ana -q job log "$job"
    [[ "$output" =~ ^[0-9]+\ $(site_user)\ geneva[1-4]$ ]]
    run -0 as ana job show "$job" --json
    [ "$(jq -r .state <<<"$output")" = completed ]
    record=$(jq -r .record <<<"$output")
    await 90 as ana ledger verify --record "$record" --files
}

@test "the exit status is the job's" {
    job=$(start 'exit 7' -n 1)
    run as ana job wait "$job"
    [ "$(json .exit_code as ana job show "$job" --json)" = 7 ]
    [ "$(json .state as ana job show "$job" --json)" = failed ]
}

@test "a running job is cancelled, and Slurm's job ends" {
    job=$(start 'sleep 300' -n 1)
    await 30 job_is "$job" running
    as ana -q job cancel "$job"
    await 30 job_is "$job" cancelled
    await 30 nothing_in_slurm
}
nothing_in_slurm() { [ -z "$(at geneva squeue -h)" ]; }
