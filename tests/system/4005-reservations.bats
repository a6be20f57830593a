#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# Nodes kept for a project's jobs, through the real daemon and agent.

load lib

setup_file() {
    facility_start
    people_start
    agent_start
    as council node list -o name >"$FACILITY/node"
}
teardown_file() { facility_end; }

state_of() { as ana job show "$1" --json | jq -r .state; }

@test "a reservation is made, listed and shown" {
    node=$(cat "$FACILITY/node")
    run -2 as council reservation add spring --nodes "$node" --until 2h
    [[ "$output" == *"--project or --nation"* ]]
    run -3 as council reservation add spring --nodes "$node" --until 2h --project cz/nosuch
    run -5 as ana reservation add spring --nodes "$node" --until 2h --project cz/multilingual
    as council -q reservation add spring --nodes "$node" --until 2h --project cz/multilingual --reason school
    run -0 as ana reservation list
    [[ "$output" == *spring*cz/multilingual*"$node"*active* ]]
    [ "$(as ana reservation show spring --json | jq -r '"\(.for) \(.reason) \(.jobs)"')" = 'cz/multilingual school 0' ]
    run -6 as council reservation add other --nodes "$node" --until 1h --nation fr
    [[ "$output" == *"is kept by reservation spring then"* ]]
    as council -q reservation add autumn --nodes "$node" --from 3h --until 4h --nation fr
}

@test "who asks for one that is not there, not theirs or too short hears it" {
    run -3 as ana submit --reservation winter --time 1m -- true
    [[ "$output" == *"there is no reservation 'winter'"* ]]
    run -5 as ana submit --reservation autumn --time 1m -- true
    [[ "$output" == *"reservation autumn is for jobs of fr"* ]]
    run -6 as ana submit --reservation spring --time 2h -- true
    [[ "$output" == *"would not end before reservation spring does"* ]]
    run -5 as ana submit --reservation spring -n 3 --time 1m -- true
    [[ "$output" == *"of the nodes of reservation spring: asks for 3 accelerators"* ]]
}

@test "its jobs run, others wait until it is over" {
    run -0 --separate-stderr as ana submit -n 1 --time 1m -- true
    out=$output
    printf '#!/bin/sh\n#SBATCH --reservation=spring\n#SBATCH -t 1\necho inside\n' >"$FACILITY/in.sh"
    run -0 --separate-stderr as ana submit "$FACILITY/in.sh"
    in=$output
    run -0 as ana job wait "$in"
    [ "$(as ana job show "$in" --json | jq -r .reservation)" = spring ]
    [ "$(state_of "$out")" = queued ]
    explained() { [[ "$(as ana explain "$out")" == *"the reservation for others that begins at"* ]]; }
    await 30 explained
    as council -q reservation remove spring
    run -0 as ana job wait "$out"
    run -3 as ana reservation show spring
    run -6 as ana submit --reservation spring --time 1m -- true
    [[ "$output" == *"reservation spring ended"* ]]
}

@test "a job waits for its reservation to begin, and nothing need happen then" {
    node=$(cat "$FACILITY/node")
    as council -q reservation add soon --nodes "$node" --from 3s --until 2h --project cz/multilingual
    run -0 --separate-stderr as ana submit -n 2 --reservation soon --time 1m -- true
    run -0 as ana job wait "$output"
    as council -q reservation remove soon
}
