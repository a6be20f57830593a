#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2154 # bats sets output
# A database that was restored from a copy: noticed, read only, and brought up to what was published.

load lib

setup_file() {
    facility_start
    people_start
    agent_start
# shellcheck disable=SC2317 # `run` calls it
    facility() { "$BUILD/daemon/beamtimed" --embedded --state-dir "$FACILITY" "$@"; }
    export -f facility
    export BUILD
}
teardown_file() { facility_end; }

@test "a copy is taken, then work goes on and is published" {
    early=$(as ana -q submit -n 1 --time 1m --hold -- true)
    run -0 facility backup "$FACILITY/copy"
    as ana job release "$early"
    run -0 as ana job wait "$early"
    quota >"$FACILITY/test.quota"
    late=$(as ana -q submit -n 1 --time 1m -- false)
    run -1 as ana job wait "$late"
    record=$(json .record as ana job show "$early" --json)
    await 30 as ana ledger verify --record "$(json .record as ana job show "$late" --json)"
    printf '%s %s %s\n' "$early" "$late" "$record" >"$FACILITY/test.jobs"
}
quota() { json "[.items[] | [.level, .spent_mras, .held_mras]]" as council quota show --nation cz --json; }

@test "a daemon on the restored copy is only read, and says what to do" {
    read -r early _ _ <"$FACILITY/test.jobs"
    daemon_stop
    agent_stop
    rm -rf "$FACILITY/pg"
    run -0 facility restore "$FACILITY/copy"
    daemon_start
    [ "$(job_state "$early")" = held ]
    run as ana submit -n 1 --time 1m -- true
    [ "$status" -ne 0 ]
    [[ $output == *"restored from a copy"*"beamtimed recover"* ]]
    run -6 facility recover
    [[ $output == *"belongs to the running beamtimed"* ]]
}

@test "recover puts back what was published, once, and every invariant holds" {
    daemon_stop
    run -0 facility recover
    [[ $output == *"4 entries of the ledger are back"*"are lost"* ]]
    run -0 facility recover
    [[ $output == *"nothing to recover"* ]]
    run -0 facility check
    [[ $output == *"0 violations"* ]]
}

@test "then the facility goes on where the ledger ended" {
    read -r early late record <"$FACILITY/test.jobs"
    daemon_start
    [ "$(job_state "$early")" = completed ]
    [ "$(json .record as ana job show "$early" --json)" = "$record" ]
    run -3 as ana job show "$late"
    [ "$(quota)" = "$(cat "$FACILITY/test.quota")" ]
    [[ "$(quota)" == *nation* ]]
    run -0 as ana ledger verify --record "$record"
    agent_start
    job=$(as ana -q submit -n 1 --time 1m -- true)
    run -0 as ana job wait "$job"
    await 30 as ana ledger verify --record "$(json .record as ana job show "$job" --json)"
}

@test "an agent that knows more makes the daemon read only, whatever was lost beside the database" {
    run -0 facility backup "$FACILITY/second"
    before=$(cat "$FACILITY/agent/known")
    job=$(as ana -q submit -n 1 --time 1m -- true)
    run -0 as ana job wait "$job"
    [ "$(cat "$FACILITY/agent/known")" != "$before" ]
    agent_stop
    daemon_stop
    rm -rf "$FACILITY/pg" "$FACILITY/known"
    run -0 facility restore "$FACILITY/second"
    daemon_start
    run -0 as ana -q submit -n 1 --time 1m --hold -- true
    agent_launch
    await 30 refuses_work
    [[ $(cat "$FACILITY/test.refused") == *"restored from a copy"*"beamtimed recover"* ]]
    grep -q "an agent knows batch" "$FACILITY/beamtimed.log"
    run -0 as ana job list
    agent_stop
    : >"$FACILITY/agent.log"
    agent_start
    await 30 grep -q "restored from a copy" "$FACILITY/agent.log"
    agent_stop
    [ "$(grep -c '"event":"fatal"' "$FACILITY/beamtimed.log")" = 1 ] # who knows it already stays
    daemon_stop
    run -0 facility recover
    [[ $output == *"are lost"* ]]
    daemon_start
    agent_start
    job=$(as ana -q submit -n 1 --time 1m -- true)
    run -0 as ana job wait "$job"
}
# shellcheck disable=SC2317 # await calls it
refuses_work() { # the daemon listens anew, at ports of its own choice
    [ -e "$FACILITY/run/ready" ] || return 1
    follow_ports
    ! as ana submit -n 1 --time 1m --hold -- true 2>"$FACILITY/test.refused" &&
        grep -q "restored from a copy" "$FACILITY/test.refused"
}
