#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# A cluster that is only watched: nothing is started or cancelled there, and the starts that the
# facility would have promised are shown beside those of Slurm.

load lib
load slurm

setup_file() {
    slurm_needed
    facility_start
    people_start
    export SLURM_DIR=$FACILITY/sites/watched/slurm
    mkdir -p "$FACILITY/sites/watched"
    chmod 755 "$FACILITY/sites" "$FACILITY/sites/watched"
    TB_PORT=$((20000 + ($$ * 67 + 40) % 12000)) TB_PREFIX=w TB_CLUSTER=watched \
        "$SOURCE/tests/slurm/testbed" start "$SLURM_DIR" 2 >&2 3>&-
    mkdir "$FACILITY/go"
    chmod 755 "$FACILITY/go"
    as council -q site add watched --slurm-conf "$SLURM_DIR/slurm.conf" --tier 1 --until 365d --observe
    await 30 reachable
}
reachable() { as council site show watched | grep -q 'reachable     yes'; }

# Somebody else's job, as a site's own people submit it; its number.
theirs() { # NAME OPTION...
    local name=$1 as=()
    shift
    [ "$(id -u)" != 0 ] || as=(--uid=nobody)
    at watched sbatch --parsable "${as[@]}" -D / -o /dev/null -J "$name" "$@" \
        --wrap "while [ ! -e $FACILITY/go/$name ]; do sleep 0.2; done"
}
is() { [ "$(at watched squeue -h -j "$1" -o %T)" = "$2" ]; } # JOB STATE
member() { as council site report watched --json | jq -r ".$1"; }
is_member() { [ "$(member "$1")" = "$2" ]; }

@test "a job that waits is planned, and compared with its start" {
    first=$(theirs first -N 2 --exclusive -t 60)
    await 30 is "$first" RUNNING
    second=$(theirs second -N 1 --gres=gpu:8 -t 10)
    await 30 is_member waiting 1
    run -0 as council site report watched
    [[ "$output" == *waiting* ]]
    touch "$FACILITY/go/first"
    await 60 is "$second" RUNNING
    await 30 is_member compared 1
    [ "$(member on_time)" = 1 ]
    [ "$(member 'items[0].state')" = "in time" ]
    [ "$(member 'items[0].job')" = "$second" ]
    run -0 as council site report watched
    [[ "$output" == *"1 jobs compared, 1 (100.0 %) began not after"* ]]
    touch "$FACILITY/go/second"
}

@test "what looks like ours is left alone, and no job of ours goes there" {
    local name stray
    name=$(json .facility as council status --json)
    stray=$(theirs "$name" --comment bt:01890a5d-ac96-774b-bc00-000000000001:1 --hold -N 1)
    job=$(as ana -q submit --class h200 --time 2m -n 1 -- /bin/true)
    third=$(theirs third -N 2 --exclusive -t 60)
    await 30 is "$third" RUNNING
    fourth=$(theirs fourth -N 1 --gres=gpu:1 -t 10)
    await 30 is_member waiting 1
    touch "$FACILITY/go/third"
    await 60 is_member compared 2 # so lists were seen since
    is "$stray" PENDING
    is "$fourth" RUNNING
    job_is "$job" queued
    as council site show watched | grep -q 'nothing is ever started there'
    touch "$FACILITY/go/fourth"
}

@test "comparisons outlive the daemon" {
    daemon_stop
    daemon_start
    await 30 is_member compared 2
    [ "$(member on_time)" = 2 ]
}

@test "a site that is not only observed has no report" {
    run as council site report main
    [ "$status" != 0 ]
}
