#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016 # the stand-in expands its own variables
# Agents measure their nodes' bus bandwidth; a node that is slower than its class takes no new work
# until it measures well again. Three real agents, each with two ranks over the ring.

load lib

setup_file() {
    local node
    facility_start
    people_start
    mkdir -p "$FACILITY/libexec"
    find "$BUILD/agent" -mindepth 2 -name 'beamtime-*' -type f -perm -1 \
        -exec install -m 755 {} "$FACILITY/libexec" ';'
    # n3's fabric: the true benchmark, a twentieth of its result while the file `slow` is there, then twenty
    # times: what else this machine does changes a true result by more than the fifth that counts.
    mkdir -p "$FACILITY/libexec3"
    cp "$FACILITY"/libexec/beamtime-train "$FACILITY/libexec3"
    printf '#!/bin/sh\n"%s" "$@" || exit\n[ "$BEAM_RANK" = 0 ] || exit 0\nby=20\n[ ! -e "%s" ] || by=0.05\n%s\n' \
        "$FACILITY/libexec/beamtime-coll" "$FACILITY/slow" \
        'for last; do :; done; jq ".average_bus_bandwidth *= $by" "$last" >"$last.new" && mv "$last.new" "$last"' \
        >"$FACILITY/libexec3/beamtime-coll"
    chmod 755 "$FACILITY/libexec3/beamtime-coll"
    touch "$FACILITY/slow"
    for node in n1 n2 n3; do one_agent "$node"; done
}
teardown_file() {
    local file
    for file in "$FACILITY"/test.agent-*; do end_process "$(cat "$file")"; done
    facility_end
}

one_agent() { # NODE
    local user='' libexec=$FACILITY/libexec every=0s
    [ "$(id -u)" != 0 ] || user=nobody
    [ "$1" != n3 ] || libexec=$FACILITY/libexec3 every=1s
    [ "$1" != n2 ] || every=1h
    mkdir -p "$FACILITY/$1"
    chmod 711 "$FACILITY/$1"
    as council -q token new "$1" --kind agent --file "$FACILITY/$1.token"
    local options=(--state-dir "$FACILITY/$1" --url "https://127.0.0.1:$(port agents)"
        --enrol-url "$URL" --ca-file "$FACILITY/pki/root.pem" --libexec-dir "$libexec"
        --job-user "$user" --accelerators 2 --measure-every "$every" --measure-bytes 1MiB)
    "$BUILD/agent/beamtime-agent" "${options[@]}" --token-file "$FACILITY/$1.token" enrol
    (
        cd /
        exec setsid "$BUILD/agent/beamtime-agent" "${options[@]}" </dev/null \
            >>"$FACILITY/$1.log" 2>&1 3>&-
    ) &
    echo $! >"$FACILITY/test.agent-$1"
}

of() { # NODE FIELD
    as council node list --json | jq -r ".items[] | select(.node == \"$1\") | .$2"
}
is() { [ "$(of "$1" "$2")" = "$3" ]; } # NODE FIELD VALUE
has() { [ "$(of "$1" "$2")" != null ]; }

@test "a node measures itself by its schedule, another when it is asked" {
    await 20 is n1 state up
    await 30 has n3 measured_at # every second
    [ "$(of n3 busbw_mb_per_s)" -gt 0 ]
    [ "$(of n1 measured_at)" = null ] # only when asked
    run -0 as council node measure n1,n2
    [ "$(of n1 measure_asked_at)" != null ]
    await 45 has n1 measured_at # the next heartbeat brings it
    await 45 has n2 measured_at
    [ "$(of n1 busbw_mb_per_s)" -gt 0 ]
}

@test "a person who is no operator may not ask" {
    run as ana node measure n1
    [ "$status" -eq 5 ]
    run as council node measure n9
    [ "$status" -eq 3 ]
    [[ "$output" == *"there is no node 'n9'"* ]]
}

@test "a node slower than its class is degraded, says why, and takes no new job" {
    await 20 is n3 state degraded
    run -0 as council node show n3
    [[ "$output" == *"measured: "*"below 0.8 of its class's median"* ]]
    as council -q node drain n1,n2 --reason "to leave n3 alone"
    run -0 as ana -q submit -n 2 --time 5m - <<<$'#!/bin/sh\necho ran\n'
    number=$output
    echo "$number" >"$FACILITY/number"
    sleep 3 # three plans
    [ "$(job_state "$number")" = queued ]
}

@test "a good measurement lets it work again, and the job starts there" {
    rm "$FACILITY/slow"
    await 30 is n3 state up
    await 60 job_is "$(cat "$FACILITY/number")" completed
    run -0 as council audit --json
    [[ "$output" == *node-degraded* ]]
}
