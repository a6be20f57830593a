#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# The first five minutes, with a short training on a small text of its own.
# serial

load lib

setup_file() {
    [ -x "$BUILD/daemon/beamtimed" ] || skip "beamtimed is not built"
    STATE=$(mktemp -d "${TMPDIR:-/tmp}/beamtime-quickstart.XXXXXX")
    chmod 711 "$STATE"
    export STATE BT_BUILD_ROOT=$BUILD QUICKSTART_STEPS=10
    small_corpus "$STATE/corpus"
}
teardown_file() {
    [ -n "${STATE-}" ] || return 0
    "$SOURCE/deploy/quickstart" stop --state-dir "$STATE" >/dev/null
    rm -rf -- "$STATE"
}
quickstart() { "$SOURCE/deploy/quickstart" "$@" --state-dir "$STATE"; }

@test "quickstart ends with a verified record" {
    run -0 quickstart
    [[ "$output" == *verified*"inclusion ok"*"files ok"* ]]
    [[ "$output" == *"/record/1"* ]]
    [[ "$output" == *┤* ]]
    [[ "$output" == *"bits/byte held out"* ]]
}

@test "no secret is in any argument" {
    [ -s "$STATE/council.token" ] && [ -s "$STATE/agent.token" ]
    run grep -slaFf <(cat "$STATE/council.token" "$STATE/agent.token") /proc/[0-9]*/cmdline
    [ -z "$output" ]
    [ "$(stat -c %a "$STATE/council.token" "$STATE/pki/root.key" | sort -u)" = 600 ]
}

@test "quickstart run again reuses the facility and verifies the next record" {
    run -0 quickstart
    [[ "$output" == *"already running"* ]]
    [[ "$output" == *verified*"seen before"* ]]
    [[ "$output" == *"/record/3"* ]]
}

@test "stop ends daemon and agent, and a second stop has nothing to do" {
    run -0 quickstart stop
    [[ "$output" == *"agent"*"stopped"*"daemon"*"stopped"* ]]
    run -0 quickstart stop
    [ -z "$output" ]
    [ ! -e "$STATE/run/ready" ]
}

@test "clean removes what quickstart made and nothing else" {
    other=$(mktemp -d "$BATS_TEST_TMPDIR/other.XXXXXX")
    run -1 "$SOURCE/deploy/quickstart" clean --state-dir "$other"
    [ -d "$other" ]
    run -0 quickstart clean
    [ ! -e "$STATE" ]
}

@test "wrong use is status 2" {
    run -2 "$SOURCE/deploy/quickstart" --no-such-thing
    run -0 "$SOURCE/deploy/quickstart" --help
    [[ "$output" == *"deploy/quickstart stop"* ]]
}
