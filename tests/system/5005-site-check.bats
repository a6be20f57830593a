#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# What a centre asks before it lets anybody in: are the cluster's settings right, whose jobs run as
# whom, and do prolog, epilog and health check do what they say.

load lib
load slurm

# The cluster has a name of its own: its epilog must not end jobs of the others that tests run.
setup_file() {
    slurm_needed
    facility_start
    people_start
    install -d -m 755 "$FACILITY/deploy"
    install -m 755 "$SOURCE"/deploy/slurm/{prolog,epilog,health} "$FACILITY/deploy"
    SITE_EXTRA="Prolog=$FACILITY/deploy/prolog\nEpilog=$FACILITY/deploy/epilog" site_start zug 2
}

check() { as council site check "$@"; }
says() { check zug --json | jq -e --arg w "$1" '[.items[] | .level + " " + .what] | index($w) != null'; }
silent() { ! says "$1"; }
statuses() { # STATUS: of the check
    local rc=0
    check zug >/dev/null || rc=$?
    [ "$rc" = "$1" ]
}
conf() { echo "$FACILITY/sites/zug/slurm/slurm.conf"; }
reconfigured() { # SED-SCRIPT
    sed -i "$1" "$(conf)"
    at zug scontrol reconfigure
}

@test "a cluster without faults has advice at most, each with its fix" {
    await 30 statuses 0
    run -0 check zug
    [[ "$output" == *"advice"*"proctrack/linuxproc"* ]]
    [[ "$output" == *"ProctrackType=proctrack/cgroup in slurm.conf"* ]]
    [[ "$output" == *" 0 wrong"* ]]
    [[ "$output" != *rolog=* ]]
    run -0 check zug --json
    [ "$(jq '[.items[] | select(.fix == "" or .text == "")] | length' <<<"$output")" = 0 ]
}

@test "what keeps jobs from starting is wrong, and status 1 until it is mended" {
    at zug scontrol update partitionname=main state=down
    await 30 says 'wrong partition'
    statuses 1
    at zug scontrol update partitionname=main state=up
    reconfigured 's/ DefMemPerCPU=100//'
    await 30 says 'wrong DefMemPerCPU'
    silent 'wrong partition'
    reconfigured 's/^PartitionName=main/& DefMemPerCPU=100/'
    await 30 statuses 0
}

@test "an account below uid 1000, or one that is not there, is found before the first job" {
    as council -q site add other --slurm-conf "$(conf)" --user no-such-user --observe
    await 30 finds other "no Unix account 'no-such-user'"
    as council -q site add other --slurm-conf "$(conf)" --user daemon --observe
    await 30 finds other 'below 1000'
    as council -q site add other --slurm-conf "$(conf)" --partition none --user "$(site_user)" --observe
    await 30 finds other "there is no partition 'none'"
    as council -q site remove other
}
finds() { # SITE TEXT
    local rc=0
    check "$1" >"$BATS_TEST_TMPDIR/found" || rc=$?
    [ "$rc" = 1 ] && grep -q "$2" "$BATS_TEST_TMPDIR/found"
}

@test "a cluster that does not answer is one finding with its next step" {
    as council -q site add gone --slurm-conf "$FACILITY/none.conf"
    await 20 finds gone "cannot read $FACILITY/none.conf"
    run -1 check gone --json
    [ "$(jq '.items | length' <<<"$output")" = 1 ]
    as council -q site remove gone
    run -3 check nowhere
}

@test "a job runs between prolog and epilog, and what it leaves behind is ended" {
    cat >"$BATS_TEST_TMPDIR/job.sh" <<'JOB'
#!/bin/sh
setsid -f sleep 86399
echo started
JOB
    job=$(as ana -q submit --class h200 --time 2m -n 1 "$BATS_TEST_TMPDIR/job.sh")
    run -0 as ana job wait "$job"
    await 30 nothing_left 86399
    env SLURM_JOB_ID=86398 setsid -f sleep 86398
    run -0 env SLURM_JOB_ID=86398 "$SOURCE/deploy/slurm/epilog"
    await 10 nothing_left 86398
    # a job of that number of another cluster goes on
    env SLURM_JOB_ID=86397 SLURM_CLUSTER_NAME=basel setsid -f sleep 86397
    run -0 env SLURM_JOB_ID=86397 SLURM_CLUSTER_NAME=zug "$SOURCE/deploy/slurm/epilog"
    pgrep -f "sleep 86397"
    run -0 env SLURM_JOB_ID=86397 SLURM_CLUSTER_NAME=basel "$SOURCE/deploy/slurm/epilog"
    await 10 nothing_left 86397
}
nothing_left() { ! pgrep -f "sleep $1"; }

@test "a prolog refuses an accelerator that somebody holds" {
    : >"$BATS_TEST_TMPDIR/gpu1"
    export BEAMTIME_DEVICE=$BATS_TEST_TMPDIR/gpu SLURM_JOB_GPUS=0,1
    run -0 "$SOURCE/deploy/slurm/prolog"
    exec 8<"$BATS_TEST_TMPDIR/gpu1"
    run -1 "$SOURCE/deploy/slurm/prolog"
    [[ "$output" == *"gpu1 is still used by process"*" $$ "* ]]
    exec 8<&-
    run -0 "$SOURCE/deploy/slurm/prolog"
}

@test "a node without room is drained, and resumed when there is some again" {
    health() { SLURMD_NODENAME=zug2 BEAMTIME_AGENT_DIR=$FACILITY BEAMTIME_AGENT_MIN_KB=$1 at zug "$SOURCE/deploy/slurm/health"; }
    run -0 health 1
    slurm_is idle
    run -0 health 99999999999
    slurm_is drained
    await 30 node_reason zug2 'slurm: drained: beamtime: '
    run -0 health 1
    await 30 slurm_is idle # it is asked first: idle* until it answers
    at zug scontrol update nodename=zug2 state=drain reason=fan
    run -0 health 1
    slurm_is drained # not its own: it stays
    at zug scontrol update nodename=zug2 state=resume
    await 30 nodes_up zug 2
}
slurm_is() { [ "$(at zug sinfo -h -N -n zug2 -o %T)" = "$1" ]; }
node_reason() { as council node list --json | jq -e --arg n "$1" --arg r "$2" '.items[] | select(.node == $n) | .reason | startswith($r)'; }

@test "many people are mapped by a file, all of them or none" {
    printf 'person,site,account\n# first\ncz/ana,zug,ana\nfr/nobody,zug,lb\nfr/louis,nowhere,lb\n' >"$BATS_TEST_TMPDIR/maps.csv"
    run -3 as council person map --csv "$BATS_TEST_TMPDIR/maps.csv"
    [[ "$output" == *"2 of 3 lines cannot be done, so none was"* ]]
    [[ "$output" == *"line 4"*"nation fr has no person 'nobody'"* ]]
    [[ "$output" == *"line 5"*"there is no site 'nowhere'"* ]]
    printf 'cz/ana,zug\n' >"$BATS_TEST_TMPDIR/short.csv"
    run -2 as council person map --csv "$BATS_TEST_TMPDIR/short.csv"
    [[ "$output" == *"line 1 has not three words between commas"* ]]
    printf 'cz/ana,zug,%s\nfr/louis,zug,no-such-user\n' "$(site_user)" >"$BATS_TEST_TMPDIR/good.csv"
    run -0 as council person map --csv "$BATS_TEST_TMPDIR/good.csv"
    [[ "$output" == *"2 people are mapped"* ]]
    run -5 as ana person map --csv "$BATS_TEST_TMPDIR/good.csv"
    run -0 as ana -q run --class h200 -n 1 --time 2m -- id -un
    [ "$output" = "$(site_user)" ]
}
