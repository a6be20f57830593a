#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016,SC2154 # jobs expand their own variables; bats sets stderr
# What the planner promises, and who must make room: through the real daemon and agent.

load lib

setup_file() {
    facility_start
    people_start
    agent_start
}
teardown_file() { facility_end; }

node_name() { as council node list --json | jq -r '.items[0].node'; }
attempt() { as ana job show "$1" --json | jq -r "$2"; }
attempt_is() { [ "$(attempt "$1" "$2")" = "$3" ]; }

@test "a job that waits has a start time from its first moment" {
    first=$(as ana -q submit -n 2 --time 10m --grace 1s -- sleep 600)
    await 20 job_is "$first" running
    for _ in 1 2 3 4 5; do
        run -0 --separate-stderr as ana submit -n 2 --time 1m --json -- true
        [ "$(jq -r '.start_at != null' <<<"$output")" = true ]
        job=$(jq -r .number <<<"$output")
        run -0 --separate-stderr as ana explain "$job" --json
        [ "$(jq -r '.start_at != null' <<<"$output")" = true ]
        as ana -q job cancel "$job"
    done
    as ana -q job cancel "$first"
    await 20 job_is "$first" cancelled
}

@test "an owned job stops a lent one, which comes back and is given its loss back" {
    as council -q guarantee set cz --accelerators 1
    [ "$(as council guarantee list --json | jq -r '.items[0].accelerators')" = 1 ]
    lent=$(as ana -q submit -n 2 --time 5m --grace 1s -- sh -c '[ "$BEAM_ATTEMPT" -gt 1 ] || sleep 300')
    await 20 job_is "$lent" running
    owned=$(as ana -q submit -n 1 --time 1m -- sh -c 'sleep 1')
    run -0 as ana job wait "$owned"
    attempt_is "$lent" '.attempts[0].reason' stopped
    run -0 as ana job wait "$lent"
    [ "$(attempt "$lent" '.attempts | length')" = 2 ]
    [ "$(attempt "$lent" .charged_mras)" -lt 20000 ] # the second attempt's seconds alone
    as council audit --json | jq -e '.items[] | select(.kind == "preempt")'
    as council -q guarantee set cz --accelerators 0
}

@test "no more is guaranteed than there is" {
    run -6 as council guarantee set cz --accelerators 3
    [[ "$output" == *"3 accelerators would be guaranteed at once, the facility has 2"* ]]
    run -5 as cz-admin guarantee set cz --accelerators 1
}

@test "jobs are planned around an outage" {
    node=$(node_name)
    as council -q outage add "$node" --from 2m --until 20m --reason 'new switch'
    run -0 as council outage list
    [[ "$output" == *"$node"*"new switch"* ]]
    long=$(as ana -q submit -n 1 --time 10m -- true)
    short=$(as ana -q submit -n 1 --time 10s -- true)
    run -0 as ana job wait "$short"
    [ "$(job_state "$long")" = queued ]
    start=$(date -ud "$(as ana explain "$long" --json | jq -r .start_at)" +%s)
    [ "$start" -ge "$(($(date +%s) + 15 * 60))" ]
    id=$(as council outage list --json | jq -r '.items[0].id')
    as council -q outage end "$id"
    run -0 as ana job wait "$long"
}

metrics() {
    curl -sS --cacert "$FACILITY/pki/root.pem" --cert "$BEAMTIME_CONFIG_DIR/council/cert.pem" \
        --key "$BEAMTIME_CONFIG_DIR/council/key.pem" "$URL/metrics"
}
draining() { metrics | grep -q '^beamtime_nodes{state="draining"} 1'; }

@test "nodes are drained by a list, counted by state and seen in the metrics" {
    node=$(node_name)
    as council -q node drain "$node" --reason 'new fan' --until 1h
    run -0 as council node summary
    [[ "$output" == *draining*"$node"*"new fan"* ]]
    await 20 draining
    as council -q node resume "$node"
    [ "$(as council node summary --json | jq -r '.items[0].state')" = up ]
}

@test "an outage of a node that is not there is refused" {
    run as council outage add 'nowhere[1-3]' --until 1h --reason test
    [ "$status" -ne 0 ]
    [[ "$output" == *"there is no node 'nowhere1'"* ]]
}

@test "what can never run is refused at once, with the reason" {
    run -5 as ana submit -n 3 --time 1m -- true
    [[ "$output" == *"asks for 3 accelerators; the largest that it may use has 2"* ]]
    run -5 as ana submit -n 1 --class h100 --time 1m -- true
    [[ "$output" == *"no accelerators of class h100"* ]]
    as cz-admin -q quota set cz/multilingual --amount 10h --until 1h >/dev/null
    run -5 as ana submit -n 1 --time 2h -- true
    [[ "$output" == *"would run beyond the quota of the project"* ]]
    as cz-admin -q quota set cz/multilingual --amount 10h --until 365d >/dev/null
}

@test "status and the machine's page say what is wrong and what mends it" {
    node=$(node_name)
    as council -q node drain "$node" --reason 'new fan'
    run -0 as council status
    [[ "$output" == *"1 of 1 nodes of pod "*": 2 accelerators, new fan"*"beamtime node resume $node"* ]]
    run -0 curl -sS "$PUBLIC/machine"
    [[ "$output" == *'src="/machine.svg"'*'<h2>Out of work</h2>'*'<td>drain'* ]]
    [[ "$output" != *"$node"* && "$output" != *"new fan"* ]] # not for everybody
    command -v chromium >/dev/null || skip "no Chromium: the picture was not drawn"
    for at in machine machine.svg; do
        run -0 --separate-stderr chromium --headless --no-sandbox --disable-gpu \
            --user-data-dir="$BATS_TEST_TMPDIR/chromium" --dump-dom "$PUBLIC/$at"
        [[ "$output" != *parsererror* && "$output" == *"2 accelerators"* ]]
    done
    as council -q node resume "$node"
    run -0 as council status
    [[ "$output" != *"new fan"* ]]
}

# The last one: the daemon comes back on other ports.
@test "what waits has its start time as soon as the daemon is back" {
    agent_stop # after the daemon was killed nobody has heard of the node
    first=$(as ana -q submit -n 2 --time 1m -- true)
    waiting=$(as ana -q submit -n 2 --time 1m -- true) # the first may have been given the node
    daemon_kill
    daemon_start
    run -0 --separate-stderr as ana explain "$waiting" --json
    [ "$(jq -r '.start_at != null' <<<"$output")" = true ]
    agent_start
    run -0 as ana job wait "$waiting"
    run -0 as ana job wait "$first"
}
