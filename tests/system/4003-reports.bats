#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2154 # bats sets output
# What the facility tells of a period: shares of the nations, promises kept.

load lib

setup_file() {
    facility_start
    people_start
    agent_start
}
teardown_file() { facility_end; }

share() { as council report fairness --since 1h --json | jq -r ".items[] | select(.nation == \"$1\") | $2"; }

@test "who may claim, uses, lends and borrows is told for any period" {
    as council -q guarantee set fr --accelerators 1 --from "$(date -ud '-30 minutes' +%Y-%m-%dT%H:%M:%SZ)"
    job=$(as ana -q submit -n 2 --time 1m -- sleep 2)
    run -0 as ana job wait "$job"
    [ "$(share fr .entitled_acc_s)" -ge 1800 ]
    [ "$(share fr '.entitled_acc_s == .lent_acc_s and .used_acc_s == 0')" = true ]
    [ "$(share cz .jobs)" = 1 ]
    [ "$(share cz .used_acc_s)" -ge 4 ]
    [ "$(share cz '.borrowed_acc_s == .used_acc_s and .entitled_acc_s == 0')" = true ]
    run -0 as council report fairness --since 2h --until 1h -o csv
    [[ "$output" == *"cz,0,0,0,0,0,0"* ]]
    run -0 as ana report fairness
    [[ "$output" == *"ENTITLED acc-h"*"cz"*"fr"* ]]
    as council -q guarantee set fr --accelerators 0
}

@test "promises are counted as kept, and metered" {
    first=$(as ana -q submit -n 2 --time 2m --grace 1s -- sleep 120)
    await 20 job_is "$first" running
    waits=$(as ana -q submit -n 2 --time 1m -- true)
    promised() { [ "$(as ana job show "$waits" --json | jq '.promises | length')" = 1 ]; }
    await 20 promised
    as ana -q job cancel "$first"
    run -0 as ana job wait "$waits"
    run -0 as council report promises --json
    [ "$(jq '.kept >= 1 and .broken == 0 and .kept_percent == 100 and .plan_error_s >= 1' <<<"$output")" = true ]
    [ "$(jq '.starts == .at_once + .promised and .promised == .kept + .moved + .broken' <<<"$output")" = true ]
    run -0 as ana report promises
    [[ "$output" == *"no later than first promised"* ]]
    run -0 curl -sS --cacert "$FACILITY/pki/root.pem" --cert "$BEAMTIME_CONFIG_DIR/council/cert.pem" \
        --key "$BEAMTIME_CONFIG_DIR/council/key.pem" "$URL/metrics"
    [[ "$output" == *'beamtime_starts_day{promise="kept"}'*'beamtime_plan_error_seconds_day'* ]]
}

@test "everybody may read both reports" {
    run -0 curl -sS "$PUBLIC/report"
    [[ "$output" == *'<h2>Shares, in accelerator-hours</h2>'*'<td>cz</td>'*'<h2>Promises</h2>'*'100.00 %'* ]]
    run as council report fairness --since soon
    [ "$status" -eq 2 ]
}

@test "a quota is tried on what ran lately, and nothing changes" {
    run -0 as cz-admin quota set cz/multilingual --amount 20h --simulate --since 1h
    [[ "$output" == *" would have been refused"*"cz "*"all "* ]]
    [[ "$output" == *"of "[1-9]*" jobs that ran in the period 0 would have been refused"* ]]
    run -0 as cz-admin quota set cz/multilingual --amount 1h --simulate
    ran=$(sed -n 's/.*of \([0-9]*\) jobs that ran.*/\1/p' <<<"$output")
    big=$(as ana -q submit -n 2 --time 2h -- true)
    run -0 as ana job wait "$big"
    run -0 as cz-admin quota set cz/multilingual --amount 1h --simulate
    [[ "$output" == *"of $((ran + 1)) jobs that ran in the period 1 would have been refused"* ]]
    [ "$(as ana quota show cz/multilingual --json | jq -r '.items[] | select(.level == "project") | .granted_mras')" = 36000000 ]
}

@test "a simulated quota counts what waits, and says what it does not see" {
    as council -q reservation add away --nodes "$(as council node list -o name)" --until 3h --nation fr
    waits=$(as ana -q submit -n 2 --time 2h -- true)
    held=$(as ana -q submit -n 1 --hold --time 1h -- true)
    run -0 as cz-admin quota set cz/multilingual --amount 20h --simulate
    [[ "$output" == *"jobs that ran in the period or wait 0 would have been refused"* ]]
    [[ "$output" == *"(1 wait: they are taken to run to their time limits)"* ]]
    [[ "$output" == *"not seen: jobs that were refused"* ]]
    as ana -q job cancel "$waits"
    as ana -q job cancel "$held"
    as council -q reservation remove away
}
