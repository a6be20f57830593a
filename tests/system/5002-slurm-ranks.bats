#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016 # jobs expand their own variables
# Two Slurm clusters under one facility, and a training whose ranks stand on four nodes of one.

load lib
load slurm

setup_file() {
    slurm_needed
    facility_start
    people_start
    site_start geneva 4
    site_start lyon 2
    mkdir -p "$FACILITY/text"
    for language in cs fr; do
        mkdir -p "$FACILITY/text/$language"
        seq -f "the %gth line of a text in $language that a small model may learn" 1 3000 \
            >"$FACILITY/text/$language/a.txt"
    done
    chmod -R a+rX "$FACILITY/text"
}

train() { # ACCELERATORS [OPTION...]
    printf 'preset = 1m\nsteps = 8\nwarmup = 2\neval_bytes = 512\nbatch = 4\n' >"$BATS_TEST_TMPDIR/t.conf"
    as ana -q submit --class h200 --time 5m -n "$1" "${@:2}" \
        --train "$BATS_TEST_TMPDIR/t.conf" --input "$FACILITY/text"
}
loss() { as ana -q job log "$1" --stream metrics | jq -rs '[.[] | select(.loss)] | last | .loss'; }

@test "a training of 4 ranks on 4 nodes ends with the loss of 1 rank" {
    one=$(train 1)
    four=$(train 4 --per-node 1)
    run -0 as ana job wait "$one"
    run as ana job wait "$four"
    [ "$status" = 0 ] || as ana job log "$four" --stream err >&2
    [ "$status" = 0 ]
    [[ "$(json '.attempts[0].node' as ana job show "$four" --json)" == geneva* ]]
    printf 'loss of 1 rank %s, of 4 ranks %s\n' "$(loss "$one")" "$(loss "$four")"
    awk -v a="$(loss "$one")" -v b="$(loss "$four")" \
        'BEGIN { d = a - b; if (d < 0) d = -d; exit !(a > 0 && d < 0.002) }'
}

@test "the ranks of a job stand on its nodes" {
    printf '#!/bin/sh\necho "$BEAM_RANK of $BEAM_WORLD_SIZE on $SLURMD_NODENAME"\n' >"$BATS_TEST_TMPDIR/job.sh"
    job=$(as ana -q submit --class h200 --time 5m -n 32 --per-node 8 "$BATS_TEST_TMPDIR/job.sh")
    run -0 as ana job wait "$job"
    run -0 as ana -q job log "$job"
    [ "$(sort <<<"$output")" = "$(for i in 0 1 2 3; do echo "$i of 4 on geneva$((i + 1))"; done)" ]
}

@test "a rank that fails ends the job with its status" {
    printf '#!/bin/sh\n[ "$BEAM_RANK" = 1 ] && exit 9\nsleep 100\n' >"$BATS_TEST_TMPDIR/job.sh"
    job=$(as ana -q submit --class h200 --time 5m --grace 1s -n 2 --per-node 1 "$BATS_TEST_TMPDIR/job.sh")
    run as ana job wait "$job"
    run -0 as ana job show "$job" --json
    [ "$(jq .exit_code <<<"$output")" = 9 ]
    [[ "$(jq -r .outcome <<<"$output")" =~ ^rank\ 1\ on\ [a-z0-9]+\ exited\ with\ status\ 9$ ]]
}

@test "a job goes to the cluster that holds its data, and finds it there" {
    as council -q dataset add books --site lyon --path /data/lyon/books
    as council -q dataset add books --site geneva --path /data/geneva/books
    as council -q dataset add maps --site lyon --path /data/lyon/maps
    printf '#!/bin/sh\n#BEAM --dataset books\necho "$SLURMD_NODENAME $BEAM_DATASET_BOOKS $BEAM_DATASET_MAPS"\n' \
        >"$BATS_TEST_TMPDIR/job.sh"
    job=$(as ana -q submit --class h200 --time 5m -n 1 --dataset maps "$BATS_TEST_TMPDIR/job.sh")
    run -0 as ana job wait "$job"
    run -0 as ana -q job log "$job"
    [[ "$output" == lyon*" /data/lyon/books /data/lyon/maps" ]]
    as council -q dataset remove books --site lyon
    sed -i 's/^#BEAM.*/#BEAM --dataset books/' "$BATS_TEST_TMPDIR/job.sh"
    job=$(as ana -q submit --class h200 --time 5m -n 16 --per-node 8 "$BATS_TEST_TMPDIR/job.sh")
    run -0 as ana job wait "$job"
    run -0 as ana -q job log "$job"
    [ "$(grep -c '^geneva[1-4] /data/geneva/books $' <<<"$output")" = 2 ]
}

@test "a drained site takes nothing, the other goes on" {
    as council -q site drain geneva
    printf '#!/bin/sh\necho "$SLURMD_NODENAME"\n' >"$BATS_TEST_TMPDIR/job.sh"
    job=$(as ana -q submit --class h200 --time 5m -n 8 "$BATS_TEST_TMPDIR/job.sh")
    run -0 as ana job wait "$job"
    run -0 as ana -q job log "$job"
    [[ "$output" == lyon* ]]
    as council -q site drain geneva --resume
}

@test "a gang waits for one cluster rather than span two" {
    printf '#!/bin/sh\necho "$SLURMD_NODENAME"\n' >"$BATS_TEST_TMPDIR/job.sh"
    as council -q site drain lyon
    first=$(as ana -q submit --class h200 --time 5m -n 16 --wrap 'sleep 4')
    await 20 runs "$first"
    as council -q site drain lyon --resume
    gang=$(as ana -q submit --class h200 --time 5m -n 32 --per-node 8 "$BATS_TEST_TMPDIR/job.sh")
    run -0 as ana job wait "$gang"
    run -0 as ana -q job log "$gang"
    [ "$(sort -u <<<"$output" | grep -c '^geneva[1-4]$')" = 4 ]
    run -0 as ana job show "$gang" --json
    [ "$(jq -r ".attempts | length" <<<"$output")" = 1 ]
    run as ana submit --class h200 --time 5m -n 40 --dry-run --wrap true
    [ "$status" -ne 0 ]
    [[ "$output" == *"asks for 40 accelerators at one site; the largest that it may use has 32"* ]]
}
runs() { [ "$(as ana job show "$1" --json | jq -r .state)" = running ]; } # JOB

@test "a person's jobs run as the account that they are mapped to at the site" {
    [ "$(id -u)" = 0 ] || skip "only root submits for others"
    account=$(getent passwd | awk -F: '$3 >= 1000 && $1 != "nobody" { print $1; exit }')
    [ -n "$account" ] || skip "this machine has one ordinary account only"
    as council -q person map cz/ana lyon "$account"
    as council -q person map cz/ana geneva "$account"
    job=$(as ana -q submit --class h200 --time 5m -n 1 --wrap 'id -un')
    run -0 as ana job wait "$job"
    run -0 as ana -q job log "$job"
    [ "$output" = "$account" ]
}

@test "an account that the site does not have is refused with the command that mends it" {
    for site in geneva lyon; do as council -q person map fr/louis "$site" nobody-at-all; done
    as fr-admin -q project add fr/p --title P --tier 1 --until 365d
    as fr-admin -q member add fr/p fr/louis
    as fr-admin -q quota set fr/p --amount 10h --until 365d >/dev/null
    job=$(as louis -q submit -A fr/p --class h200 --time 5m --max-attempts 1 -n 1 --wrap true)
    run as louis job wait "$job"
    run -0 as louis job show "$job" --json
    [[ "$(jq -r .outcome <<<"$output")" == *"no Unix account 'nobody-at-all'"*"person map"* ]]
}

lyon() { # [OPTION...]: lyon under the facility with these options besides
    as council -q site add lyon --slurm-conf "$FACILITY/sites/lyon/slurm/slurm.conf" --tier 1 --until 365d \
        --agent "$FACILITY/libexec/beamtime-agent" --agent-dir "$FACILITY/sites/lyon/%n" "$@"
}
geneva_alone() { # Eva may ask for no more than geneva has
    { as eva submit --class h200 --time 5m -n 40 --dry-run --wrap true 2>&1 || true; } |
        grep -q "where its person has an account; the largest that it may use has 32"
}
waits_for_account() { as eva explain "$1" | grep -q "up at a site where its person has an account"; } # JOB

@test "jobs go where their person has an account" {
    as cz-admin -q person add cz/eva --name Eva --institution university --roles researcher
    as cz-admin -q clearance set cz/eva --tier 1 --until 365d
    as cz-admin -q member add cz/multilingual cz/eva
    enrol cz-admin cz/eva eva
    lyon # without --user: whom it does not map it does not know
    await 30 geneva_alone
    as council -q site drain geneva
    job=$(as eva -q submit --class h200 --time 5m -n 8 --wrap true)
    await 20 waits_for_account "$job"
    as council -q person map cz/eva lyon "$(site_user)"
    run -0 as eva job wait "$job"
    [[ "$(node_of "$job")" == lyon* ]]
    run -0 as eva job show "$job" --json
    [ "$(jq -r ".attempts | length" <<<"$output")" = 1 ]
    as council -q site drain geneva --resume
    lyon --user "$(site_user)"
}

# 9e19 FLOP are open work, 2e20 are not: eight accelerators of the class do that in 12 hours.
research() { as ana -q submit --class h200 --time "$1" --flops 2e20 -n 8 --wrap true; } # TIME
node_of() { as ana job show "$1" --json | jq -r ".attempts[-1].node"; } # JOB
site_tier() { as council site list --json | jq -r ".items[] | select(.site == \"$1\") | .tier"; } # SITE

@test "a job starts where a site is cleared for its tier" {
    as council -q quota set cz --amount 1000h --until 365d >/dev/null
    as cz-admin -q quota set cz/multilingual --amount 900h --until 365d >/dev/null
    for cleared in geneva lyon; do
        [ "$cleared" = lyon ] && other=geneva || other=lyon
        as council -q site set "$other" --tier 0
        as council -q site set "$cleared" --tier 1
        job=$(research 12h)
        run -0 as ana job wait "$job"
        run -0 as ana job show "$job" --json
        [ "$(jq -r .tier <<<"$output")" = 1 ]
        [ "$(jq -r ".attempts | length" <<<"$output")" = 1 ]
        [[ "$(node_of "$job")" == "$cleared"* ]]
    done
    # An enclave inside the site: the job waits until one of its nodes takes such work.
    as council -q node set "lyon[1-2]" --tier 0
    run research 12h
    [ "$status" -ne 0 ]
    [[ "$output" == *"no such node lies in an enclave of tier 1"* ]]
    as council -q node set lyon2 --tier 1
    job=$(research 12h)
    run -0 as ana job wait "$job"
    [ "$(node_of "$job")" = lyon2 ]
    as council -q node set "lyon[1-2]" --tier 4
    as council -q site set geneva --tier 1
}

@test "jobs of others keep the broker away from their node" {
    conf=$FACILITY/sites/lyon/slurm/slurm.conf
    other=$(SLURM_CONF=$conf sbatch --parsable --uid="$(site_user)" -D / -o /dev/null -w lyon1 --exclusive --wrap 'sleep 60')
    await 20 used_by_others lyon1
    SLURM_CONF=$conf scancel "$other"
    await 20 nodes_up lyon 2
}
used_by_others() {
    [ "$(as council node list --json | jq -r ".items[] | select(.node == \"$1\") | .reason")" = "slurm: used by jobs that are not the facility's" ]
}

@test "a site where nothing runs is removed, and may come back" {
    as council -q site drain lyon
    as council -q site remove lyon
    run -0 as council site list -o csv
    [[ "$output" != *lyon* ]]
    as council -q site add lyon --slurm-conf "$FACILITY/sites/lyon/slurm/slurm.conf" --observe
    await 20 observed
    run -0 as council site show lyon
    [[ "$output" == *"observed      only"* ]]
}
observed() {
    [ "$(as council node list --json | jq '[.items[] | select(.reason == "slurm: this site is only observed")] | length')" = 2 ]
}
