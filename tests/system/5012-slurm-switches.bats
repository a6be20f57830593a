#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016 # jobs expand their own variables
# The switches of a Slurm cluster decide where a job lies that wants to lie close together.

load lib
load slurm

setup_file() {
    slurm_needed
    facility_start
    people_start
    TB_TOPOLOGY=$(switches geneva1,geneva3 geneva2,geneva4) site_start geneva 4
}

switches() { # NODES OF left, NODES OF right
    printf 'SwitchName=left Nodes=%s\\nSwitchName=right Nodes=%s\\nSwitchName=top Switches=left,right' "$@"
}

placed() { # NODE LEAF POD
    [ "$(as council node list --json |
        jq -r ".items[] | select(.node == \"$1\") | [.leaf_switch, .pod_switch] | join(\" \")")" = "$2 $3" ]
}

# Where a job of two whole nodes that must lie on one switch ran, and where Slurm was told to.
pair() {
    local job script=$BATS_TEST_TMPDIR/job.sh
    printf '#!/bin/sh\necho "Slurm $SLURM_JOB_ID"\n' >"$script"
    job=$(as ana -q submit --class h200 --time 5m --grace 1s -n 16 --per-node 8 --require-level leaf "$script")
    as ana job wait "$job" >&2
    at geneva scontrol show job "$(as ana -q job log "$job" | sed -n '/Slurm/{s/.*Slurm //p;q}')" |
        grep -o 'ReqNodeList=[^ ]*'
}

@test "a cluster's switches become leaf and pod of its nodes" {
    await 30 placed geneva1 left top
    placed geneva3 left top
    placed geneva2 right top
    run -0 as council node list --json
    [ "$(jq '[.items[].leaf] | unique | length' <<<"$output")" = 2 ]
    [ "$(jq '[.items[].pod] | unique | length' <<<"$output")" = 1 ]
    run -0 as council node show geneva4
    [[ "$output" == *"switch right below top"* ]]
}

@test "a job that requires one switch lies on one" {
    run -0 pair
    [[ "$output" =~ ReqNodeList=geneva\[(1,3|2,4)\]$ ]]
}

@test "a job that cannot lie on one switch is refused" {
    printf '#!/bin/sh\n' >"$BATS_TEST_TMPDIR/three.sh"
    run as ana submit --class h200 --time 5m -n 24 --per-node 8 --require-level leaf "$BATS_TEST_TMPDIR/three.sh"
    [ "$status" -ne 0 ]
}

@test "switches that change in Slurm change here" {
    switches geneva1,geneva4 geneva2,geneva3 | sed 's/\\n/\n/g' >"$FACILITY/sites/geneva/slurm/topology.conf"
    at geneva scontrol reconfigure
    await 30 placed geneva4 left top
    await 30 placed geneva3 right top
    run -0 pair
    [[ "$output" =~ ReqNodeList=geneva\[(1,4|2-3)\]$ ]]
}

@test "an agent that says otherwise is named with the fix" {
    local n leaf=7
    run -0 as council site diff geneva --json
    [ "$(jq '.items | length' <<<"$output")" = 0 ]
    for n in 1 2 3 4; do
        [ "$n" != 2 ] || leaf=8
        end_process "$(cat "$FACILITY/sites/geneva/geneva$n.pid")"
        node_start geneva "geneva$n" --pod 1 --leaf "$leaf"
    done
    # 1 and 4 share a switch and say 7 and 8; 2 and 3 say 8
    await 60 differ 1
    run -0 as council site diff geneva
    [[ "$output" == *"as other nodes of switch left"* ]]
    [[ "$output" == *"leaf = "*"or leave it out: what Slurm says counts"* ]]
    placed geneva4 left top
}
differ() { [ "$(as council site diff geneva --json | jq '.items | length')" = "$1" ]; }

@test "they are known after a restart, before the cluster answers" {
    local before
    before=$(where_all)
    controller_kill geneva
    daemon_kill
    daemon_start
    [ "$(where_all)" = "$before" ]
}
where_all() { as council node list --json | jq -c '[.items[] | {node, leaf, pod, leaf_switch, pod_switch}]'; }
