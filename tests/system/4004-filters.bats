#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016 # jobs expand their own variables
# Jobs that ask for memory of accelerators and for measured bandwidth, through the real daemon and
# agent: who is refused with what there is, who runs, what explain says.

load lib

setup_file() {
    facility_start
    people_start
    agent_start --measure-every 0s --measure-bytes 1MiB
}
teardown_file() { facility_end; }

node_gb() { as council node list --json | jq -r '.items[0].memory_gb'; }
is_measured() { [ "$(as council node list --json | jq -r '.items[0].busbw_mb_per_s')" != null ]; }

@test "accelerators without a memory of their own share the machine's" {
    bytes=$(as council node list --json | jq '.items[0].inventory.memory_bytes')
    [ "$(node_gb)" = "$(((bytes / 2 + 500000000) / 1000000000))" ]
}

@test "who asks for more memory than there is hears how much there is" {
    gb=$(node_gb)
    run -5 as ana submit --memory $((gb + 1))G --time 1m -- true
    [[ "$output" == *"has $((gb + 1)) GB of memory; the largest has $gb GB"* ]]
    [[ "$output" == *"--memory ${gb}G or less"* ]]
    run -5 as ana submit --dry-run --memory $((gb + 1))G --time 1m -- true
    printf '#!/bin/sh\n#BEAM --memory=%sG --time 1m\necho fits\n' "$gb" >"$FACILITY/fits.sh"
    run -0 --separate-stderr as ana submit "$FACILITY/fits.sh"
    job=$output
    run -0 as ana job wait "$job"
    run -0 as ana job show "$job"
    [[ "$output" == *"$gb GB or more"* ]]
    [ "$(as ana job show "$job" --json | jq .spec.accelerators.memory_gb)" = "$gb" ]
}

@test "nodes that were never measured do not match, and do once they are" {
    run -5 as ana submit --min-bandwidth 1 --time 1m -- true
    [[ "$output" == *"was ever measured"* && "$output" == *"beamtime node measure"* ]]
    as council -q node measure "$(as council node list -o name)"
    await 60 is_measured
    run -5 as ana submit --min-bandwidth 60000 --time 1m -- true
    [[ "$output" == *"no node that it may use was measured at 60000 GB/s; the fastest has"* ]]
}

@test "explain counts the nodes that fit" {
    run -0 --separate-stderr as ana submit -n 2 --time 5m -- sh -c 'while [ ! -e "$0" ]; do sleep 0.1; done' \
        "/tmp/${FACILITY##*/}.go"
    first=$output
    runs() { [ "$(as ana job show "$first" --json | jq -r .state)" = running ]; }
    await 60 runs # else the shorter one goes first
    run -0 --separate-stderr as ana submit -n 2 --memory 1G --time 1m -- true
    second=$output
    planned() { [[ "$(as ana explain "$second")" == *"1 of the 1 nodes of its class"* ]]; }
    await 30 planned
    run -0 as ana explain "$second"
    [[ "$output" == *"memory or bandwidth that it asks for"* || "$output" == *"behind job $first"* ]]
    touch "/tmp/${FACILITY##*/}.go"
    run -0 as ana job wait "$first"
    run -0 as ana job wait "$second"
    rm "/tmp/${FACILITY##*/}.go"
}
