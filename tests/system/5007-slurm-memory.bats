#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016 # jobs expand their own variables
# A controller that loses its memory: it shows jobs running that have ended, gives numbers away that
# it gave before, and drains the nodes where that is noticed.

load lib
load slurm

setup_file() {
    slurm_needed
    facility_start --claim-timeout 120s
    people_start
    mkdir "$FACILITY/ran"
    chmod 1777 "$FACILITY/ran"
    site_start geneva 2
    export SLURM_DIR=$FACILITY/sites/geneva/slurm
}

start() { # NAME: a job on both nodes that ends when it is let go
    printf '#!/bin/sh\necho "$SLURM_JOB_ID" >"%s.began"\nwhile [ ! -e "%s.go" ]; do sleep 0.1; done\n' \
        "$FACILITY/ran/$1" "$FACILITY/ran/$1" >"$BATS_TEST_TMPDIR/job.sh"
    as ana -q submit --class h200 --time 20m --grace 1s -n 16 "$BATS_TEST_TMPDIR/job.sh"
}
began() { [ -s "$FACILITY/ran/$1.began" ]; }
number() { cat "$FACILITY/ran/$1.began"; }
let_go() { touch "$FACILITY/ran/$1.go"; }
site_says() { as council site show geneva | grep -q "$1"; }
nothing_in_slurm() { [ -z "$(at geneva squeue -h)" ]; }
drained() { at geneva sinfo -h -N -t drain,drained,draining -o %N | grep -qx "$1"; }
not_drained() { ! drained "$1"; }
is_up() { nodes_up geneva 2; }

controller_returns() {
    controller_starts geneva
    await 60 site_says 'reachable     yes'
}
remember() { # what the controller knows now is what it will know again after forget
    end_process "$(controller geneva)"
    rm -rf "$SLURM_DIR/state.before"
    cp -a "$SLURM_DIR/state" "$SLURM_DIR/state.before"
    controller_returns
}
forget() {
    controller_kill geneva
    rm -rf "$SLURM_DIR/state"
    mv "$SLURM_DIR/state.before" "$SLURM_DIR/state"
    controller_returns
}

# $1 freezes what would see the end in Slurm; the end itself the agent tells.
end_is_forgotten() { # NAME HOW
    local job pid
    job=$(start "$1")
    await 120 began "$1"
    remember
    pid=$(pgrep -f "beamtime-slurm $SLURM_DIR/slurm.conf")
    [ "$2" = seen ] || kill -STOP "$pid"
    let_go "$1"
    run -0 as ana job wait "$job"
    await 60 nothing_in_slurm
    controller_kill geneva
    rm -rf "$SLURM_DIR/state"
    mv "$SLURM_DIR/state.before" "$SLURM_DIR/state"
    "$SOURCE/tests/slurm/testbed" controller "$SLURM_DIR" 3>&- # it runs again, for its 20 minutes
    kill -CONT "$pid" 2>/dev/null || true                       # it may have been replaced
    await 60 site_says 'reachable     yes'
    await 120 nothing_in_slurm
    job_is "$job" completed
}

@test "a job whose end the controller forgot is cancelled there" { end_is_forgotten one seen; }
@test "also when nobody had seen it end in Slurm" { end_is_forgotten two unseen; }

@test "a node drained for a number that was not provably ours is shown with the next command" {
    at geneva scontrol update nodename=geneva1 state=drain reason='Duplicate jobid'
    await 60 node_says geneva1 'slurm: drained: Duplicate jobid'
    run -0 as council site diff geneva
    [[ "$output" == *geneva1*"drained: Duplicate jobid"*"scontrol update nodename=geneva1 state=resume"* ]]
    run -0 as council status
    [[ "$output" == *"slurm: drained: Duplicate jobid"*"beamtime site diff geneva"* ]]
    drained geneva1
    at geneva scontrol update nodename=geneva1 state=resume
    await 60 is_up
}
node_says() { as council node list --json | jq -e --arg n "$1" --arg r "$2" '.items[] | select(.node == $n) | .reason == $r'; }

@test "a node drained for a number that two of our jobs had is resumed once the first is over" {
    remember
    first=$(start first)
    await 120 began first
    let_go first
    run -0 as ana job wait "$first"
    await 60 nothing_in_slurm
    forget
    await 60 is_up
    second=$(start second)
    await 120 began second
    [ "$(number first)" = "$(number second)" ]
    at geneva scontrol update nodename=geneva2 state=drain reason='Duplicate jobid'
    await 60 not_drained geneva2
    grep -q '"msg":"node-resumed".*"node":"geneva2"\|node-resumed.*geneva2' "$FACILITY/beamtimed.log"
    at geneva scontrol update nodename=geneva2 state=drain reason='Duplicate jobid, says somebody'
    let_go second
    run -0 as ana job wait "$second"
    await 60 node_says geneva2 'slurm: drained: Duplicate jobid, says somebody'
    drained geneva2 # whatever somebody drained stays so
}
