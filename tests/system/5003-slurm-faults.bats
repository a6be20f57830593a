#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016 # jobs expand their own variables
# Whoever is killed or frozen between the broker and its cluster: no job is lost, none runs twice.

load lib
load slurm

setup_file() {
    slurm_needed
    facility_start --claim-timeout 20s
    people_start
    mkdir "$FACILITY/ran"
    chmod 1777 "$FACILITY/ran"
    site_start geneva 2
}
teardown_file() {
    kill -CONT "$(controller geneva)" 2>/dev/null || true
    sites_end
    facility_end
}

# A job that notes each of its starts and ends, and ends when it is let go.
start() { # NAME [OPTION...]
    local script=$BATS_TEST_TMPDIR/job.sh
    printf '#!/bin/sh\necho "$BEAM_ATTEMPT" >>"%s.began"\nwhile [ ! -e "%s.go" ]; do sleep 0.1; done\necho "$BEAM_ATTEMPT" >>"%s.ended"\n' \
        "$FACILITY/ran/$1" "$FACILITY/ran/$1" "$FACILITY/ran/$1" >"$script"
    as ana -q submit --class h200 --time 5m --grace 1s -n 1 "${@:2}" "$script"
}
began() { [ "$(wc -l <"$FACILITY/ran/$1.began" 2>/dev/null)" = "$2" ]; }
let_go() { touch "$FACILITY/ran/$1.go"; }
ended_once() { [ "$(wc -l <"$FACILITY/ran/$1.ended")" = 1 ]; }
attempts() { json '.attempts | length' as ana job show "$1" --json; }
site_says() { as council site show geneva | grep -q "$1"; }
helper_pid() { pgrep -f "beamtime-slurm $FACILITY/sites/geneva/slurm/slurm.conf"; }
nothing_in_slurm() { [ -z "$(at geneva squeue -h)" ]; }
completed_once() { # NAME JOB
    run -0 as ana job wait "$2"
    ended_once "$1"
    await 30 nothing_in_slurm
}

@test "a job outlives its controller" {
    job=$(start controller)
    await 30 began controller 1
    controller_kill geneva
    await 20 site_says 'unreachable   since'
    let_go controller
    controller_starts geneva
    await 30 site_says 'reachable     yes'
    completed_once controller "$job"
    [ "$(attempts "$job")" = 1 ]
}

@test "a job that the controller forgot is attempted again, once" {
    local state=$FACILITY/sites/geneva/slurm/state
    end_process "$(controller geneva)" # it writes its state
    cp -a "$state" "$state.before"
    controller_starts geneva
    await 30 site_says 'reachable     yes'
    job=$(start forgot)
    await 30 began forgot 1
    controller_kill geneva
    rm -rf "$state"
    mv "$state.before" "$state"
    controller_starts geneva # it tells its nodes to end what it does not know
    await 60 began forgot 2
    let_go forgot
    completed_once forgot "$job"
    [ "$(attempts "$job")" = 2 ]
}

@test "a job outlives slurmd" {
    job=$(start slurmd)
    await 30 began slurmd 1
    for node in geneva1 geneva2; do
        slurmd_kill geneva "$node"
    done
    for node in geneva1 geneva2; do
        slurmd_starts geneva "$node"
    done
    let_go slurmd
    completed_once slurmd "$job"
    [ "$(attempts "$job")" = 1 ]
}

@test "a killed shepherd's job is attempted again" {
    job=$(start shepherd)
    await 30 began shepherd 1
    pkill -KILL -f "beamtime-[a-z]* shepherd $FACILITY/sites/.*/$(json .id as ana job show "$job" --json).1"
    await 60 began shepherd 2
    let_go shepherd
    completed_once shepherd "$job"
    [ "$(attempts "$job")" = 2 ]
}

@test "a killed helper is started anew and finds what runs" {
    job=$(start helper)
    await 30 began helper 1
    before=$(helper_pid)
    kill -KILL "$before"
    await 20 another_helper "$before"
    let_go helper
    completed_once helper "$job"
    [ "$(attempts "$job")" = 1 ]
}
another_helper() { [ -n "$(helper_pid)" ] && [ "$(helper_pid)" != "$1" ]; }

@test "a killed daemon finds its jobs in Slurm again" {
    job=$(start daemon)
    await 30 began daemon 1
    daemon_kill
    daemon_start --claim-timeout 20s --listen-agents "127.0.0.1:$(port agents)"
    await 30 site_says 'reachable     yes'
    let_go daemon
    completed_once daemon "$job"
    [ "$(attempts "$job")" = 1 ]
}

@test "a frozen controller is told of, and its ghost does not run" {
    kill -STOP "$(controller geneva)"
    job=$(start ghost)
    await 30 site_says 'unreachable   since'
    run -0 as council site show geneva
    [[ "$output" == *"slurmctld does not answer"* ]]
    kill -CONT "$(controller geneva)"
    await 60 began ghost 1
    let_go ghost
    completed_once ghost "$job"
    began ghost 1
}

@test "what is wrong with a site is said in one sentence, with the fix" {
    local conf=$FACILITY/sites
    as council -q site add none --slurm-conf "$conf/none.conf"
    await 20 trouble none "cannot read $conf/none.conf"
    run -0 as council site show none
    [[ "$output" == *$'\ncleared       tier 0\n'* && "$output" != *$'\ncluster '* ]] # neither is known
    printf 'Garbage=1\n' >"$conf/bad.conf"
    as council -q site add bad --slurm-conf "$conf/bad.conf"
    await 20 trouble bad 'Unable to process configuration file'
    sed "s|run/munge/sock|run/munge/none|; s|^ClusterName=.*|ClusterName=x|" \
        "$conf/geneva/slurm/slurm.conf" >"$conf/munge.conf"
    as council -q site add munge --slurm-conf "$conf/munge.conf"
    await 30 trouble munge 'is munged running here'
    for site in none bad munge; do as council -q site remove $site; done
}
trouble() { as council site show "$1" | grep -q "$2"; }
