#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016,SC2154 # jobs expand their own variables; bats sets stderr
# A person's first day: enrolled, submitted, followed, published, verified.

load lib

setup_file() {
    facility_start
    people_start
    agent_start
}
teardown_file() { facility_end; }

@test "whoami says who the certificate proves and what they may do" {
    run -0 as ana whoami
    [[ "$output" == *"cz/ana"* ]]
    [[ "$output" == *"multilingual"* ]]
    [ "$(json .tier as ana whoami --json)" = 1 ]
    [ "$(json '.roles | index("researcher") != null' as ana whoami --json)" = true ]
}

@test "a used token enrols nobody else" {
    run -4 as thief enrol --url "$URL" --ca "$FACILITY/pki/root.pem" --token-file "$FACILITY/ana.token"
    [ ! -e "$BEAMTIME_CONFIG_DIR/thief/key.pem" ]
    run -4 bash -c "echo not-a-token | '$BEAMTIME' --profile thief enrol --url '$URL' --ca '$FACILITY/pki/root.pem'"
}

@test "a profile is not replaced by accident" {
    run -6 as ana enrol --url "$URL" --ca "$FACILITY/pki/root.pem" --token-file "$FACILITY/ana.token"
    [[ "$output" == *"--replace"* ]]
}

@test "keys are nobody else's to read" {
    [ "$(stat -c %a "$BEAMTIME_CONFIG_DIR/ana/key.pem")" = 600 ]
    [ "$(stat -c %a "$FACILITY/council.token")" = 600 ]
}

@test "run shows both streams and exits as its command does" {
    run -0 --separate-stderr as ana -q run -n 1 --time 1m -- sh -c 'echo out; echo err >&2'
    [ "$output" = out ]
    [[ "$stderr" == *err* ]]
    run -7 as ana -q run -n 1 --time 1m -- sh -c 'exit 7'
}

@test "a script is submitted, waited for and published" {
    printf '#!/bin/sh\n#BEAM -J greet -n 1 --time 1m\necho hello >"$BEAM_OUTPUT/greeting.txt"\necho said\n' \
        >"$BATS_TEST_TMPDIR/greet.sh"
    run -0 --separate-stderr as ana submit "$BATS_TEST_TMPDIR/greet.sh"
    job=$output
    [[ "$job" =~ ^[0-9]+$ ]]
    [[ "$stderr" == *"job $job accepted"* ]]
    run -0 as ana job wait "$job"
    [[ "$output" == *completed* ]]
    run -0 as ana job log "$job"
    [ "$output" = said ]
    record=$(json .record as ana job show "$job" --json)
    run -0 as ana job show "$job"
    [[ "$output" == *"/record/$record"* ]]
    run -0 "$BEAMTIME" --profile nobody ledger verify --record "$record" --files --url "$PUBLIC" \
        --vkey "$FACILITY/pki/log.vkey" --wait 90s
    [[ "$output" == verified*"inclusion ok"*"files ok"* ]]
}

@test "log -f follows a job that still runs" {
    job=$(as ana -q submit -n 1 --time 1m -- sh -c 'echo one; while [ ! -e "$BEAM_SCRATCH/../go" ] && [ "$i" != 20 ]; do sleep 0.1; i=$((${i:-0} + 1)); done; echo two')
    run -0 timeout 60 "$BEAMTIME" --profile ana job log -f "$job"
    [ "$output" = $'one\ntwo' ]
}

@test "lists come as table, wide, JSON, CSV and names" {
    run -0 as ana job list
    [[ "${lines[0]}" == *JOB*NAME*STATE* ]]
    [ "$(json '.items | length > 0' as ana job list --json)" = true ]
    as ana job list -o csv | head -n 1 | grep -q '^number,name,'
    as ana job list -o name | grep -qx '[0-9]*'
    run -0 as ana queue --json
    jq -e '.items' <<<"$output"
}

@test "the whole ledger verifies, and still does when it has grown" {
    run -0 as ana ledger verify --vkey "$FACILITY/pki/log.vkey"
    [[ "$output" == verified*"every entry, tile and signature ok"* ]]
    before=$(json .size as ana ledger verify --json)
    as ana -q run -n 1 --time 1m -- true
    last=$(json '.items[0].record' as ana job list --limit 1 --json)
    run -0 as ana ledger verify --record "$last" --wait 90s
    run -0 as ana ledger verify --json
    [ "$(jq .size <<<"$output")" -gt "$before" ]
    [ "$(jq .extends <<<"$output")" -ge "$before" ]
}

@test "a mirror with one flipped bit does not verify" {
    mkdir "$BATS_TEST_TMPDIR/mirror"
    cp -r "$FACILITY/ledger/." "$BATS_TEST_TMPDIR/mirror"
    run -0 "$BEAMTIME" ledger verify --dir "$BATS_TEST_TMPDIR/mirror" --vkey "$FACILITY/pki/log.vkey"
    bundle=$BATS_TEST_TMPDIR/mirror/tile/entries/000.p/$(sed -n 2p "$BATS_TEST_TMPDIR/mirror/checkpoint")
    printf 'X' | dd of="$bundle" bs=1 seek=40 conv=notrunc status=none
    run -1 "$BEAMTIME" ledger verify --dir "$BATS_TEST_TMPDIR/mirror" --vkey "$FACILITY/pki/log.vkey"
    [[ "$output" != *verified* ]]
}

@test "another key verifies nothing" {
    sed 's/+[0-9a-f]*+/+00000000+/' "$FACILITY/pki/log.vkey" >"$BATS_TEST_TMPDIR/other.vkey"
    run "$BEAMTIME" ledger verify --url "$PUBLIC" --vkey "$BATS_TEST_TMPDIR/other.vkey"
    [ "$status" -ne 0 ]
    [[ "$output" != *verified* ]]
}

@test "status names the facility and no problem" {
    run -0 as ana status
    [[ "$output" == *"beamtimed"* ]]
    run -0 as ana status --json
    jq -e '.ledger.size > 0' <<<"$output"
}
