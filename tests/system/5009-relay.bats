#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016,SC2034 # jobs expand their own variables; NODE_… are slurm.bash's
# Nodes without a route to the facility: their agents live in a network namespace that ends at the
# relay of their site. The relay is killed while a job runs, and nothing is lost or done twice.

load lib
load slurm

setup_file() {
    slurm_needed
    namespace_needed
    facility_start
    people_start
    namespace_start
    relay_start 0
    NODE_INSIDE=("${INSIDE[@]}")
    NODE_EXTRA=(--relay "$NEAR:$(relay_port)")
    site_start geneva 2
    mkdir "$FACILITY/ran"
    chmod 1777 "$FACILITY/ran"
}
teardown_file() {
    sites_end
    [ -z "${FACILITY-}" ] || [ ! -e "$FACILITY/relay.pid" ] || end_process "$(cat "$FACILITY/relay.pid")"
    facility_end
    [ -z "${HOLDER-}" ] || end_process "$HOLDER" # the namespace and its link go with it
}

# ---- the namespace: two addresses of 198.18.0.0/15 (RFC 2544), this side's and the nodes' ----

namespace_needed() {
    command -v ip nsenter unshare >/dev/null || skip "no ip(8), nsenter(1) or unshare(1): deploy/install-deps --tests"
    unshare -n true 2>/dev/null || skip "network namespaces are not permitted here"
}
namespace_start() {
    local third=$(($$ / 64 % 256)) fourth=$(($$ % 64 * 4))
    NEAR=198.18.$third.$((fourth + 1))
    FAR=198.18.$third.$((fourth + 2))
    setsid unshare -n sleep 3600 </dev/null >/dev/null 2>&1 3>&- &
    HOLDER=$!
    INSIDE=(nsenter -t "$HOLDER" -n)
    await 10 another_namespace
    ip link add "bt$HOLDER" type veth peer name up0 netns "$HOLDER" ||
        skip "links between network namespaces are not permitted here"
    ip addr add "$NEAR/30" dev "bt$HOLDER"
    ip link set "bt$HOLDER" up
    "${INSIDE[@]}" ip addr add "$FAR/30" dev up0
    "${INSIDE[@]}" ip link set up0 up
    "${INSIDE[@]}" ip link set lo up
    export NEAR HOLDER
}
another_namespace() { [ "$(readlink "/proc/$HOLDER/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
inside() { nsenter -t "$HOLDER" -n "$@"; }
reaches() { inside timeout 10 bash -c 'exec 4<>"/dev/tcp/$1/$2"' - "$@" 2>/dev/null; } # ADDRESS PORT

# ---- the relay ----

relay_start() { # PORT
    : >"$FACILITY/relay.log"
    (
        cd /
        exec setsid "$BUILD/daemon/clusters/relay/beamtime-relay" --listen "$NEAR:$1" --allow "$FAR" \
            --to "127.0.0.1:$(port agents)" </dev/null 2>"$FACILITY/relay.log" 3>&-
    ) &
    echo $! >"$FACILITY/relay.pid"
    await 20 relay_listens
}
relay_listens() { [ -n "$(relay_port)" ]; }
relay_port() { sed -n 's/.*"relaying".*"port":"\([0-9]*\)".*/\1/p' "$FACILITY/relay.log"; }
relay_kill() {
    local pid
    pid=$(cat "$FACILITY/relay.pid")
    kill -KILL "$pid"
    await 10 gone "$pid"
}

@test "the nodes reach the relay, and nothing of the facility" {
    for name in people agents public; do
        ! reaches 127.0.0.1 "$(port "$name")"
        ! reaches "$NEAR" "$(port "$name")"
    done
    reaches "$NEAR" "$(relay_port)"
    NODE_INSIDE=(nsenter -t "$HOLDER" -n)
    run ! node_enrol geneva nowhere # without --relay
    [[ "$output" == *"cannot be reached"* ]]
}

@test "a job runs there, and its result is published" {
    printf '#!/bin/sh\necho hello\necho result >"$BEAM_OUTPUT/r"\n' >"$BATS_TEST_TMPDIR/job.sh"
    job=$(as ana -q submit --class h200 --time 5m --grace 1s -n 8 "$BATS_TEST_TMPDIR/job.sh")
    run -0 as ana job wait "$job"
    run -0 as ana -q job log "$job"
    [[ "$output" == *hello* ]]
    await 90 as ana ledger verify --record "$(json .record as ana job show "$job" --json)" --files
}

log_has() { as ana -q job log "$1" | grep -qx "$2"; }

@test "a relay killed while a job runs and ends loses nothing, and nothing happens twice" {
    local ran=$FACILITY/ran/job port
    port=$(relay_port)
    cat >"$BATS_TEST_TMPDIR/job.sh" <<JOB
#!/bin/sh
echo "\$BEAM_ATTEMPT" >>"$ran.began"
i=0
while [ ! -e "$ran.go" ]; do
    echo "\$((i += 1))"
    echo "\$i" >>"$ran.lines"
    sleep 0.1
done
cp "$ran.lines" "\$BEAM_OUTPUT/lines"
echo "\$BEAM_ATTEMPT" >>"$ran.ended"
JOB
    job=$(as ana -q submit --class h200 --time 5m --grace 1s -n 1 "$BATS_TEST_TMPDIR/job.sh")
    await 60 log_has "$job" 3
    relay_kill
    seen=$(wc -l <"$ran.lines")
    await 30 bash -c "[ \$(wc -l <'$ran.lines') -gt $((seen + 5)) ]"
    touch "$ran.go"
    await 30 test -e "$ran.ended"
    run ! log_has "$job" "$(tail -n 1 "$ran.lines")" # nobody could tell
    job_is "$job" running
    relay_start "$port"
    run -0 as ana job wait "$job"
    [ "$(cat "$ran.began" "$ran.ended" | wc -l)" = 2 ]
    as ana -q job log "$job" | diff - "$ran.lines" # every line, once, in order
    run -0 as ana job show "$job" --json
    [ "$(jq -r .state <<<"$output")" = completed ]
    [ "$(jq '.attempts | length' <<<"$output")" = 1 ]
    record=$(jq -r .record <<<"$output")
    await 90 as ana ledger verify --record "$record" --files
}
