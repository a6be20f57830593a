#!/usr/bin/env bats
# A facility on a PostgreSQL of its own: the daemon makes its tables there and outlives its restarts.
# SPDX-License-Identifier: GPL-3.0-or-later

load lib
BEAMTIMED=$BUILD/daemon/beamtimed

# As the user that may run PostgreSQL.
pg() { # PROGRAM ARGUMENT...
    local program=$1
    shift
    if [ "$(id -u)" = 0 ]; then
        (cd / && setpriv --reuid postgres --regid postgres --clear-groups "$PG_BIN/$program" "$@" 3>&-)
    else
        "$PG_BIN/$program" "$@" 3>&-
    fi
}
pg_start() { pg pg_ctl -D "$SERVER/data" -l "$SERVER/log" -w -t 60 -o "-c listen_addresses= -k $SERVER" start; }
pg_stop() { pg pg_ctl -D "$SERVER/data" -w -t 60 -m "$1" stop; }

setup_file() {
    PG_BIN=$(find /usr/lib/postgresql -name initdb -printf '%h\n' | sort | tail -n 1)
    [ -n "$PG_BIN" ] || skip "PostgreSQL's server is not installed"
    SERVER=$(mktemp -d "${TMPDIR:-/tmp}/beamtime-server.XXXXXX")
    [ "$(id -u)" != 0 ] || chown postgres "$SERVER"
    export PG_BIN SERVER
    pg initdb -D "$SERVER/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null
    pg_start >/dev/null
    pg psql -q -h "$SERVER" -U postgres -d postgres -c 'CREATE ROLE beamtime LOGIN CREATEROLE' \
        -c 'CREATE DATABASE beamtime OWNER beamtime'
    DATABASE="host=$SERVER user=beamtime dbname=beamtime"
    export DATABASE
    facility_start
    people_start
    agent_start
}
teardown_file() {
    facility_end
    [ -z "${SERVER-}" ] || pg_stop immediate >/dev/null || true
    rm -rf -- "${SERVER:?}"
}

@test "the tables are in the server's database, and none in the state directory" {
    run -0 pg psql -At -h "$SERVER" -U beamtime -d beamtime -c 'SELECT count(*) > 0 FROM core_head'
    [ "$output" = t ]
    [ ! -e "$FACILITY/pg" ]
}

@test "a job runs, and is there after daemon and server were started again" {
    run -0 as ana -q run -n 1 --time 1m -- echo hi
    [ "$output" = hi ]
    job=$(as ana job list -o name | head -n 1)
    daemon_stop
    pg_stop fast >/dev/null
    pg_start >/dev/null
    daemon_start
    job_is "$job" completed
}

@test "the daemon waits while its server is away" {
    pg_stop immediate >/dev/null
    pg_start >/dev/null
    await 60 as cz-admin -q person add cz/late --name Late --institution university --roles researcher
    gone "$(cat "$FACILITY/test.daemon")" && false
    run -0 as cz-admin person list -o name
    [[ "$output" == *cz/late* ]]
}

@test "check, backup and restore work on it" {
    run -0 "$BEAMTIMED" --database "$DATABASE" --state-dir "$FACILITY" check
    [[ "$output" == *"0 violations"* ]]
    run -0 "$BEAMTIMED" --database "$DATABASE" --state-dir "$FACILITY" backup "$BATS_TEST_TMPDIR/copy"
    pg psql -q -h "$SERVER" -U postgres -d postgres -c 'CREATE DATABASE again OWNER beamtime'
    run -0 "$BEAMTIMED" --database "host=$SERVER user=beamtime dbname=again" \
        --state-dir "$FACILITY/again" restore "$BATS_TEST_TMPDIR/copy"
    run -0 "$BEAMTIMED" --database "host=$SERVER user=beamtime dbname=again" \
        --state-dir "$FACILITY/again" check
    [[ "$output" == *"0 violations"* ]]
}

@test "a server that is not there is named" {
    run "$BEAMTIMED" --database "host=$SERVER port=1 user=beamtime dbname=beamtime" \
        --state-dir "$FACILITY/other" check
    [ "$status" -ne 0 ]
    [[ "$output" == *"$SERVER"* ]]
}
