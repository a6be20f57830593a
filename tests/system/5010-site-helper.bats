#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016,SC2154 # jobs expand their own variables; helper_options is slurm.bash's
# The helper of a cluster runs at its site and calls the facility over mutual TLS; whoever of the
# two is killed, no job is lost and none runs twice.

load lib
load slurm

setup_file() {
    slurm_needed
    facility_start
    people_start
    mkdir "$FACILITY/ran"
    chmod 1777 "$FACILITY/ran"
    SITE_REMOTE=yes site_start geneva 2
}

# A job that notes each of its starts and ends, and ends when it is let go.
start() { # NAME [OPTION...]
    local script=$BATS_TEST_TMPDIR/job.sh
    printf '#!/bin/sh\necho "$BEAM_ATTEMPT" >>"%s.began"\nwhile [ ! -e "%s.go" ]; do sleep 0.1; done\necho "$BEAM_ATTEMPT" >>"%s.ended"\necho result >"$BEAM_OUTPUT/r"\n' \
        "$FACILITY/ran/$1" "$FACILITY/ran/$1" "$FACILITY/ran/$1" >"$script"
    as ana -q submit --class h200 --time 5m --grace 1s -n 1 "${@:2}" "$script"
}
began() { [ "$(wc -l <"$FACILITY/ran/$1.began" 2>/dev/null)" = 1 ]; }
let_go() { touch "$FACILITY/ran/$1.go"; }
ran_once() { # NAME JOB
    run -0 as ana job wait "$2"
    [ "$(cat "$FACILITY/ran/$1.began" "$FACILITY/ran/$1.ended" | wc -l)" = 2 ]
}
completed_once() { # NAME JOB: also in one attempt
    ran_once "$@"
    [ "$(json '.attempts | length' as ana job show "$2" --json)" = 1 ]
}
site_says() { as council site show geneva | grep -q "$1"; }
carrier() { cat "$FACILITY/sites/geneva/helper.pid"; }
slurm_helper() { pgrep -f "^beamtime-slurm $FACILITY/sites/geneva/slurm/slurm.conf"; }
kill_and_await() { # PID
    kill -KILL "$1"
    await 20 gone "$1"
}

@test "a site shows where its helper is" {
    run -0 as council site show geneva
    [[ "$output" == *"helper        at the site, connected since "*" from 127.0.0.1"* ]]
    [[ "$output" == *"reachable     yes"* ]]
    run -0 as council site diff geneva --json
    [ "$(jq '.items | length' <<<"$output")" = 0 ]
    [ -z "$(pgrep -P "$(cat "$FACILITY/test.daemon")" beamtime-slurm)" ]
    # its certificate has a little less than what --renew-before asks for
    await 60 grep -q certificate_renewed "$FACILITY/sites/geneva/helper.log"
}

@test "a job runs, and its result is published" {
    job=$(start published)
    let_go published
    completed_once published "$job"
    record=$(json .record as ana job show "$job" --json)
    await 90 as ana ledger verify --record "$record" --files
}

@test "jobs outlive the helper's absence" {
    job=$(start before)
    await 60 began before
    kill_and_await "$(carrier)"
    await 20 test -z "$(slurm_helper)"
    other=$(start while)
    let_go before
    let_go while
    run -0 as ana job wait "$job"
    await 180 site_says 'helper        at the site, gone; it called at'
    site_says 'unreachable   since'
    helper_start geneva
    completed_once before "$job"
    ran_once while "$other" # an attempt that never reached the cluster may have been closed
}

@test "a job outlives beamtime-slurm, and a new session begins" {
    await 60 site_says 'reachable     yes'
    job=$(start child)
    await 60 began child
    old=$(slurm_helper)
    kill_and_await "$old"
    let_go child
    await 60 another "$old"
    await 60 site_says 'reachable     yes'
    completed_once child "$job"
    job=$(start after)
    let_go after
    completed_once after "$job"
}
another() { [ -n "$(slurm_helper)" ] && [ "$(slurm_helper)" != "$1" ]; }

ask() { # STATE-DIR METHOD PATH
    curl -s -o /dev/null -w '%{http_code}' --cacert "$FACILITY/pki/root.pem" --cert "$1/identity/cert.pem" \
        --key "$1/identity/key.pem" -X "$2" -d '{}' "https://127.0.0.1:$(port agents)$3"
}

@test "a helper is no agent, and an agent no helper" {
    [ "$(ask "$FACILITY/sites/geneva/geneva1" POST /v1/helper/sessions)" = 403 ]
    [ "$(ask "$FACILITY/sites/geneva/helper" POST /v1/agent/claim)" = 403 ]
    [ "$(ask "$FACILITY/sites/geneva/helper" POST /v1/helper/sessions/00000000-0000-7000-8000-000000000000/frames)" = 409 ]
    as council -q token new basel --kind helper --file "$FACILITY/basel.token"
    helper_options geneva
    mkdir "$FACILITY/basel"
    "$BUILD/agent/beamtime-agent" "${helper_options[@]}" --state-dir "$FACILITY/basel" \
        --token-file "$FACILITY/basel.token" enrol
    [ "$(ask "$FACILITY/basel" POST /v1/helper/sessions)" = 404 ]
}
