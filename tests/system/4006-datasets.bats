#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016 # jobs expand their own variables
# Data sets that a site holds and jobs ask for, through the real daemon and agent: who may declare
# them, who runs with which path, who waits, what the record says.

load lib

setup_file() {
    facility_start
    people_start
    agent_start
    mkdir "$FACILITY/data"
    chmod 755 "$FACILITY/data"
    echo text >"$FACILITY/data/a.txt"
    as council -q site set lab --kind local --tier 1 --until 365d # it has no nodes
}
teardown_file() { facility_end; }

here() { json '.items[0].site' as council node list --json; }
digest() { printf 'sha256:%064d' "$1"; }
waits_for() { [[ "$(as ana explain "$1")" == *"$2"* ]]; }

@test "an operator declares data sets, everybody sees them" {
    run -2 as council dataset add web-2 --path /data/web
    [[ "$output" == *"wants --site"* ]]
    run -2 as council dataset add web-2 --site "$(here)"
    run -3 as council dataset add web-2 --site paris --path /data/web
    run -2 as council dataset add web-2 --site "$(here)" --path '/data/$(id)'
    run -5 as ana dataset add web-2 --site "$(here)" --path /data/web
    as council -q dataset add web-2 --site "$(here)" --path "$FACILITY/data" --digest "$(digest 7)" --bytes 5KiB
    as council -q dataset add web-2 --site lab --path /other/web
    run -6 as council dataset add web_2 --site "$(here)" --path /data/web
    [[ "$output" == *"BEAM_DATASET_WEB_2 too"* ]]
    run -6 as council dataset add web-2 --site lab --path /other/web --digest "$(digest 8)"
    [[ "$output" == *"this would not be the same data"* ]]
    [ "$(json '.items | map(.site) | sort | join(" ")' as ana dataset list --json)" = "$(printf '%s\n' lab "$(here)" | sort | xargs)" ]
    [ "$(json '.items[0] | "\(.name) \(.path) \(.bytes) \(.digest)"' as ana dataset list --site "$(here)" --json)" = \
        "web-2 $FACILITY/data 5120 $(digest 7)" ]
    run -0 as council site show "$(here)"
    [[ "$output" == *"data          web-2  $FACILITY/data"* ]]
    run -0 as council audit --subject web-2
    [[ "$output" == *dataset* ]]
}

@test "who asks for what no site holds hears it" {
    run -5 as ana submit --dataset nosuch --time 1m -- true
    [[ "$output" == *"data set nosuch: no site holds it"*"beamtime dataset list"* ]]
    as council -q dataset add elsewhere --site lab --path /other/else
    run -5 as ana submit --dataset elsewhere --time 1m -- true
    [[ "$output" == *"no site that holds its data sets has nodes that it may use"* ]]
    run -5 as ana submit --dataset elsewhere --dataset web-2 -n 2 --time 1m -- true
    run -2 as ana submit --dataset WEB --time 1m -- true
}

@test "a job finds its data, and the record names it" {
    printf '#!/bin/sh\n#BEAM --dataset=web-2 --time 1m\nls "$BEAM_DATASET_WEB_2"\n' >"$FACILITY/ls.sh"
    run -0 --separate-stderr as ana submit "$FACILITY/ls.sh"
    job=$output
    run -0 as ana job wait "$job"
    [ "$(as ana job log "$job")" = a.txt ]
    run -0 as ana job show "$job"
    [[ "$output" == *"data      web-2  $FACILITY/data  sha256:"* ]]
    record=$(json .record as ana job show "$job" --json)
    entry=$(curl -sf "$PUBLIC/record/$record.json")
    [ "$(jq -r '.body.datasets | map("\(.name) sha256:\(.sha256)") | join(" ")' <<<"$entry")" = "web-2 $(digest 7)" ]
    curl -sf "$PUBLIC/record/$record" | grep -q '<dt>Data sets</dt><dd>web-2'
    curl -sf "$PUBLIC/machine" >"$FACILITY/machine.html"
    grep -q '<h2>Data sets</h2>' "$FACILITY/machine.html"
    run -1 grep "$FACILITY/data" "$FACILITY/machine.html" # paths are nobody's business
}

@test "what is taken back is waited for, also after a kill" {
    run -0 --separate-stderr as ana submit -n 2 --dataset web-2 --time 5m -- sh -c 'while [ ! -e "$0" ]; do sleep 0.1; done' \
        "/tmp/${FACILITY##*/}.data.go"
    first=$output
    await 60 job_is "$first" running
    run -0 --separate-stderr as ana submit -n 2 --dataset web-2 --time 1m -- true
    second=$output
    as council -q dataset remove web-2 --site "$(here)"
    as council -q dataset remove web-2 --site lab
    run -3 as council dataset remove web-2 --site lab
    await 60 waits_for "$second" "waits for data set web-2: no site holds it"
    agents=$(port agents)
    daemon_kill
    daemon_start --listen-agents "127.0.0.1:$agents"
    await 60 waits_for "$second" "waits for data set web-2: no site holds it"
    touch "/tmp/${FACILITY##*/}.data.go"
    run -0 as ana job wait "$first" # it had begun
    rm "/tmp/${FACILITY##*/}.data.go"
    job_is "$second" queued
    as council -q dataset add web-2 --site "$(here)" --path "$FACILITY/data"
    run -0 as ana job wait "$second"
}
