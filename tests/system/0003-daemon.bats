#!/usr/bin/env bats
# What beamtimed says of itself, one owner a state directory, copies and their way back.
# SPDX-License-Identifier: GPL-3.0-or-later

load lib
BEAMTIMED=$BUILD/daemon/beamtimed

setup_file() { facility_start; }
teardown_file() { facility_end; }

@test "--help, --print-config and the example it prints agree with each other" {
    run "$BEAMTIMED" --help
    [ "$status" = 0 ]
    [[ $output == *"--state-dir"* ]]
    "$BEAMTIMED" --print-config >"$BATS_TEST_TMPDIR/conf"
    run "$BEAMTIMED" --config "$BATS_TEST_TMPDIR/conf" --print-config
    [ "$status" = 0 ]
    [ "$output" = "$(cat "$BATS_TEST_TMPDIR/conf")" ]
}

@test "an unknown option is refused with the nearest name" {
    run "$BEAMTIMED" --state-dirr /nowhere
    [ "$status" = 2 ]
    [[ $output == *"state"* ]]
}

@test "a second daemon on the same state directory is refused and says whose it is" {
    run "$BEAMTIMED" --embedded --state-dir "$FACILITY"
    [ "$status" = 6 ]
    [[ $output == *"belongs to the running beamtimed"* ]]
}

@test "check finds every invariant in place beside the running daemon" {
    run "$BEAMTIMED" --embedded --state-dir "$FACILITY" check
    [ "$status" = 0 ]
    [[ $output == *"0 violations"* ]]
}

@test "a copy taken while it runs fills an empty facility, and only an empty one" {
    run "$BEAMTIMED" --embedded --state-dir "$FACILITY" backup "$BATS_TEST_TMPDIR/copy"
    [ "$status" = 0 ]
    [ "$(stat -c %a "$BATS_TEST_TMPDIR/copy")" = 600 ]
    local new=$FACILITY/new # PostgreSQL's own user must be able to reach it
    run "$BEAMTIMED" --embedded --state-dir "$new" restore "$BATS_TEST_TMPDIR/copy"
    [ "$status" = 0 ]
    run "$BEAMTIMED" --embedded --state-dir "$new" check
    [ "$status" = 0 ]
    run "$BEAMTIMED" --embedded --state-dir "$new" restore "$BATS_TEST_TMPDIR/copy"
    [ "$status" = 6 ]
}

@test "what ended just before a stop is published by it, and the stop does not wait" {
    local pid job
    people_start
    agent_start
    await 20 node_up
    for _ in 1 2 3; do # checkpoints are a second apart: the last ones are the stop's
        job=$(as ana -q submit --time 5m -n 1 --wrap true)
        as ana -q job cancel "$job"
    done
    pid=$(cat "$FACILITY/test.daemon")
    kill -TERM "$pid"
    await 15 gone "$pid" # end_process would kill it in the end
    agent_stop
    daemon_start
    run -0 as ana ledger verify
    [ "$(sed -n 2p "$FACILITY/ledger/checkpoint")" -ge 3 ]
}
