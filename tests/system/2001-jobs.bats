#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016,SC2154 # jobs expand their own variables; bats sets stderr
# The life of a job as its owner sees it.

load lib

setup_file() {
    facility_start
    people_start
    agent_start
}
teardown_file() { facility_end; }

@test "a job that fails has a record and its charge" {
    job=$(as ana -q submit -n 1 --time 1m -- false)
    run -1 as ana job wait "$job"
    run -0 as ana job show "$job" --json
    [ "$(jq -r .state <<<"$output")" = failed ]
    [ "$(jq -r .exit_code <<<"$output")" = 1 ]
    [ "$(jq -r '.record != null' <<<"$output")" = true ]
    [ "$(jq -r '.hold_mras' <<<"$output")" = 0 ]
}

@test "what came out of a job is signed, published and verified; once" {
    job=$(as ana -q submit -n 1 --time 1m -- true)
    run -2 as ana result "$job" --title Probe
    [[ "$output" == *"beamtime result $job --finding positive --title"* ]]
    run -0 as ana job wait "$job"
    cat >"$BATS_TEST_TMPDIR/result.json" <<'JSON'
{"title": "from the file", "languages": ["de", "cs"], "licence": "Apache-2.0",
 "summary": "Nothing was lost.\nNothing was gained <b>either</b>."}
JSON
    run -0 as ana result "$job" --file "$BATS_TEST_TMPDIR/result.json" --title 'A probe' --finding negative \
        --evaluation bits-per-byte@udhr=2.059 --link https://example.org/paper --dry-run
    [ "$(jq -r .title <<<"$output")" = 'A probe' ]
    run ! as louis result "$job" --finding positive --title T --summary S
    run -0 as ana result "$job" --file "$BATS_TEST_TMPDIR/result.json" --title 'A probe' --finding negative \
        --evaluation bits-per-byte@udhr=2.059 --link https://example.org/paper
    [[ "$output" == *"published as entry"* ]]
    entry=$(as ana job show "$job" --json | jq -r .result)
    run -0 as ana ledger show "$entry" --json
    [ "$(jq -r .kind <<<"$output")" = result ]
    [ "$(jq -r .body.body.record <<<"$output")" = "$(as ana job show "$job" --json | jq -r .record)" ]
    await 60 as ana ledger verify --record "$entry"
    run -0 curl -sS "$PUBLIC/record/$entry"
    [[ "$output" == *"A probe"*"Nothing was lost.<br>"*"Nothing was gained &lt;b&gt;either&lt;/b&gt;."*bits-per-byte*2.059* ]]
    run -0 curl -sS "$PUBLIC/record/$(as ana job show "$job" --json | jq -r .record)"
    [[ "$output" == *"/record/$entry\">result"* ]]
    run ! as ana result "$job" --finding positive --title T --summary S
    [[ "$output" == *"has its result already, entry $entry"* ]]
    [ "$(stat -c %a "$BEAMTIME_CONFIG_DIR/ana/signing.pem")" = 600 ]
}

@test "a job is ended at its walltime" {
    job=$(as ana -q submit -n 1 --time 2s --grace 1s -- sleep 60)
    run -124 as ana job wait "$job"
    [ "$(job_state "$job")" = timeout ]
}

@test "a held job starts only after its release" {
    job=$(as ana -q submit -n 1 --time 1m --hold -- true)
    [ "$(job_state "$job")" = held ]
    run -0 as ana explain "$job"
    [[ "$output" == *held* ]]
    run -0 as ana job release "$job"
    run -0 as ana job wait "$job"
}

@test "a waiting job can be cancelled, and is published as cancelled" {
    job=$(as ana -q submit -n 1 --time 1m --hold -- true)
    run -0 as ana job cancel "$job" --reason 'a test'
    [ "$(job_state "$job")" = cancelled ]
    [ "$(json '.record != null' as ana job show "$job" --json)" = true ]
    run -6 as ana job release "$job"
}

@test "a running job can be cancelled" {
    job=$(as ana -q submit -n 1 --time 5m --grace 1s -- sleep 300)
    await 20 job_is "$job" running
    run -0 as ana job cancel "$job"
    run as ana job wait "$job"
    [ "$(job_state "$job")" = cancelled ]
}

@test "somebody else's job is not theirs to cancel" {
    job=$(as ana -q submit -n 1 --time 1m --hold -- true)
    run as louis job cancel "$job"
    [ "$status" -eq 5 ] || [ "$status" -eq 3 ]
    [ "$(job_state "$job")" = held ]
    as ana job cancel "$job"
}

@test "a dependency waits for the other job" {
    first=$(as ana -q submit -n 1 --time 1m --hold -- true)
    second=$(as ana -q submit -n 1 --time 1m -d "afterok:$first" -- true)
    [ "$(job_state "$second")" = held ]
    as ana job release "$first"
    run -0 as ana job wait "$second"
}

@test "the environment of a job is clean but for what was exported" {
    SECRET=1 run -0 --separate-stderr as ana -q run -n 1 --time 1m --export GREETING=hello -- env
    [[ "$output" == *GREETING=hello* ]]
    [[ "$output" == *BEAM_JOB=* ]]
    [[ "$output" != *SECRET* ]]
}

@test "jobs run as somebody who is not root" {
    run -0 --separate-stderr as ana -q run -n 1 --time 1m -- id -u
    [ "$output" -ge 1000 ]
}

@test "what is asked with --dry-run changes nothing" {
    before=$(json '.items[0].number' as ana job list --limit 1 --json)
    run -0 as ana submit -n 1 --time 1m --dry-run -- true
    [[ "$output" == *"would be accepted"* ]]
    [ "$(json '.items[0].number' as ana job list --limit 1 --json)" = "$before" ]
}

@test "more accelerators than exist are refused as impossible" {
    run -5 as ana submit -n 5000 --time 1s -- true
}

@test "a job that is not there is status 3" {
    run -3 as ana job show 999999
    run -3 as ana job log 999999
    run -2 as ana job show not-a-job
}

@test "a training on two accelerators leaves a model" {
    mkdir -p "$FACILITY/text"
    for lang in cs de et; do
        for i in $(seq 1 3000); do echo "$lang line $i of a small text to learn from"; done \
            >"$FACILITY/text/$lang.txt"
    done
    printf 'preset = 1m\nsteps = 12\nwarmup = 4\neval_bytes = 512\n#BEAM -J tiny -n 2 --time 5m\n' \
        >"$BATS_TEST_TMPDIR/tiny.conf"
    run -0 as ana submit --train "$BATS_TEST_TMPDIR/tiny.conf" --input "$FACILITY/text" --follow
    [[ "$output" == *"train "*"/12"*"loss"* ]]
    job=$(as ana job list --limit 1 -o name)
    record=$(json .record as ana job show "$job" --json)
    run -0 as ana job curve "$job"
    [[ "$output" == *┤* ]]
    run -0 as ana -q ledger verify --record "$record" --files --wait 90s --json
    [ "$(jq .files <<<"$output")" -ge 4 ]
}
