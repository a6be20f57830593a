#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016,SC2030,SC2031,SC2034 # NODE_EXTRA is slurm.bash's; jobs expand their own variables
# What administrators, other partitions and nodes do to a job in Slurm, and what becomes of it here.

load lib
load slurm

setup_file() {
    slurm_needed
    facility_start --claim-timeout 20s
    people_start
    mkdir "$FACILITY/ran"
    chmod 1777 "$FACILITY/ran"
    NODE_EXTRA=(--mpi pmi2)
    SITE_EXTRA='PreemptType=preempt/partition_prio
PreemptMode=CANCEL
PartitionName=urgent Nodes=geneva[1-2] PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE State=UP' \
        site_start geneva 2
}

# What a failed test left must not fail the others.
teardown() {
    local id
    [ -z "${BATS_TEST_COMPLETED-}" ] || return 0
    for id in $(in_slurm %A); do
        at geneva scontrol -Q resume "$id" || true
    done
    for id in $(json '.items[].number' as ana queue --json); do
        as ana -q job cancel "$id"
    done
    for id in $(in_slurm %A); do
        at geneva scancel "$id" || true
    done
    await 60 nothing_in_slurm
}

# A job that notes its starts, one beside another, its SIGTERM and its end, and ends when it is let go.
start() { # NAME [OPTION...]
    local script=$BATS_TEST_TMPDIR/job.sh at=$FACILITY/ran/$1
    printf '%s\n' '#!/bin/bash' "trap 'echo \$BEAM_ATTEMPT >>$at.told; exit 85' TERM" \
        "exec 9>>$at.lock" "flock -n 9 || echo twice >>$at.began" \
        "echo \$\$ >$at.pid" "echo \$BEAM_ATTEMPT >>$at.began" "while [ ! -e $at.go ]; do sleep 0.1; done" \
        "echo \$BEAM_ATTEMPT >>$at.ended" >"$script"
    as ana -q submit --class h200 --time 5m --grace 5s -n 1 "${@:2}" "$script"
}
began() { [ "$(wc -l <"$FACILITY/ran/$1.began" 2>/dev/null)" = "$2" ]; } # NAME TIMES
frozen() { [ "$(sed 's/.*) //' "/proc/$(cat "$FACILITY/ran/$1.pid")/stat" | cut -c1)" = T ]; } # NAME
suspend() { # NAME: Slurm says so at once, and stops the processes some two seconds later
    at geneva scontrol suspend "$(in_slurm %A)"
    await 20 is_in_slurm SUSPENDED
    await 30 frozen "$1"
}
let_go() { touch "$FACILITY/ran/$1.go"; }
attempts() { json '.attempts | length' as ana job show "$1" --json; }
in_slurm() { at geneva squeue -h -o "$1"; } # FORMAT
nothing_in_slurm() { [ -z "$(in_slurm %A)" ]; }
is_in_slurm() { [ "$(in_slurm %T)" = "$1" ]; }
completed() { # NAME JOB ATTEMPTS
    run -0 as ana job wait "$2"
    [ "$(wc -l <"$FACILITY/ran/$1.ended")" = 1 ]
    [ "$(attempts "$2")" = "$3" ]
    await 30 nothing_in_slurm
}
node_says() { as council node list -o wide | grep -q "^$1 .*$2"; } # NODE WHAT

@test "a job that an administrator suspends goes on where it was" {
    job=$(start suspended)
    await 30 began suspended 1
    suspend suspended
    let_go suspended
    [ "$(json .state as ana job show "$job" --json)" = running ]
    await 30 diff_says "scontrol resume $(in_slurm %A)"
    [ ! -e "$FACILITY/ran/suspended.ended" ]
    at geneva scontrol resume "$(in_slurm %A)"
    completed suspended "$job" 1
}

diff_says() { as council site diff geneva | grep -q "$1"; }

@test "a suspended job can be cancelled" {
    job=$(start frozen)
    await 30 began frozen 1
    suspend frozen
    as ana -q job cancel "$job"
    run as ana job wait "$job"
    [ "$(json .state as ana job show "$job" --json)" = cancelled ]
    await 60 nothing_in_slurm
    [ "$(attempts "$job")" = 1 ]
}

@test "a job that an administrator requeues does not run a second time beside us" {
    job=$(start requeued)
    await 30 began requeued 1
    run at geneva scontrol requeue "$(in_slurm %A)"
    [ "$status" -ne 0 ] # its jobs are not to be requeued: the facility does that
    let_go requeued
    completed requeued "$job" 1
}

@test "a job that an administrator cancels in Slurm is told, and tried again" {
    job=$(start scancelled)
    await 30 began scancelled 1
    at geneva scancel "$(in_slurm %A)"
    await 60 began scancelled 2
    let_go scancelled
    completed scancelled "$job" 2
}

@test "a job that another partition preempts is tried again" {
    job=$(start preempted -n 8)
    await 30 began preempted 1
    urgent=$(at geneva sbatch --parsable -o /dev/null -p urgent -w "$(in_slurm %N)" --exclusive --wrap "while [ ! -e $FACILITY/ran/urgent.go ]; do sleep 0.1; done")
    await 60 urgent_runs
    await 60 began preempted 2 # on the other node, whatever it was sent to first
    let_go urgent
    let_go preempted
    run -0 as ana job wait "$job"
    [ "$(wc -l <"$FACILITY/ran/preempted.ended")" = 1 ]
    began preempted 2
    await 30 nothing_in_slurm
}
urgent_runs() { [ "$(at geneva squeue -h -j "$urgent" -o %T)" = RUNNING ]; }

@test "a node in a maintenance reservation takes nothing until it is over" {
    at geneva scontrol create reservation reservationname=repair starttime=now duration=60 flags=maint,ignore_jobs \
        nodes=geneva1,geneva2 users=root
    await 30 node_says geneva1 maintenance
    await 30 node_says geneva2 maintenance
    job=$(start maintained)
    run -0 as ana explain "$job"
    echo "$output"
    [ "$(json .state as ana job show "$job" --json)" = queued ]
    at geneva scontrol delete reservationname=repair
    await 60 began maintained 1
    let_go maintained
    completed maintained "$job" 1
}

@test "a job whose node fails is tried again" {
    job=$(start failed)
    await 30 began failed 1
    node=$(in_slurm %N)
    at geneva scontrol update nodename="$node" state=down reason=broken
    await 90 began failed 2 # there or elsewhere: its slurmd may have registered again
    let_go failed
    completed failed "$job" 2
    at geneva scontrol update nodename="$node" state=resume || true # it is up already
}

@test "ranks of an MPI program get what the site's agents say" {
    printf '#!/bin/sh\necho "$BEAM_RANK: $PMI_RANK of $PMI_SIZE"\n' >"$BATS_TEST_TMPDIR/mpi.sh"
    job=$(as ana -q submit --class h200 --time 5m -n 2 --per-node 1 "$BATS_TEST_TMPDIR/mpi.sh")
    run -0 as ana job wait "$job"
    run -0 as ana -q job log "$job"
    [ "$(sort <<<"$output")" = "$(printf '0: 0 of 2\n1: 1 of 2\n')" ]
    await 30 nothing_in_slurm
}

@test "a partition that is down starts nothing, and its nodes say so" {
    at geneva scontrol update partitionname=main state=down
    await 30 diff_says "scontrol update partitionname=main state=up"
    await 30 node_says geneva1 "partition main is not up"
    job=$(start down)
    run -0 as ana explain "$job"
    [ "$(json .state as ana job show "$job" --json)" = queued ]
    at geneva scontrol update partitionname=main state=up
    await 60 began down 1
    let_go down
    completed down "$job" 1
}
