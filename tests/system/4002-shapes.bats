#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016,SC2154 # jobs expand their own variables; bats sets stderr
# Arrays, dependencies, sizes chosen at start: through the real daemon and agent.

load lib

setup_file() {
    facility_start
    people_start
    agent_start
}
teardown_file() { facility_end; }

field() { as ana job show "$1" --json | jq -r "$2"; }

@test "an array is one request and a job for each task" {
    run -0 --separate-stderr as ana submit --array 3-9:3 --time 1m -J sweep -n 1 -- sh -c \
        'echo "task $BEAM_ARRAY_TASK of $BEAM_ARRAY"'
    jobs=$output
    [[ "$jobs" =~ ^[0-9]+-[0-9]+$ && "$stderr" == *"jobs $jobs accepted · 3 tasks"* ]]
    run -0 as ana job wait "$jobs"
    array=$(field "${jobs%-*}" .array)
    job=${jobs%-*}
    for task in 3 6 9; do
        [ "$(field "$job" '"\(.task) \(.array)"')" = "$task $array" ]
        run -0 as ana job log "$job"
        [ "$output" = "task $task of $array" ]
        [ "$(field "$job" .record)" -ge 0 ]
        job=$((job + 1))
    done
}

@test "the same array is not made twice, nor half, nor beyond the quota" {
    as ana submit --print --project cz/multilingual --array 0-4 --hold --time 1m -- true >"$FACILITY/array.json"
    post() {
        curl -sS --cacert "$FACILITY/pki/root.pem" --cert "$BEAMTIME_CONFIG_DIR/ana/cert.pem" \
            --key "$BEAMTIME_CONFIG_DIR/ana/key.pem" --data @"$FACILITY/array.json" \
            -H 'Content-Type: application/json' "$URL/v1/jobs"
    }
    run -0 post
    [ "$(jq -r .tasks <<<"$output")" = 5 ]
    first=$(jq -r .number <<<"$output")
    run -0 post
    [ "$(jq -r .number <<<"$output")" = "$first" ]
    [ "$(as ana job list --state held --json | jq '[.items[] | select(.name == "true")] | length')" = 5 ]
    as ana -q job cancel "$first-$((first + 4))"
    run -5 as ana submit --array 0-999 --time 1h -n 2 -- true
    [[ "$output" == *"needs 2000.00 accelerator-hours"* ]]
    [ "$(as ana queue --json | jq '.items | length')" = 0 ]
}

@test "of an array with a bound no more run side by side" {
    run -0 --separate-stderr as ana submit --array 1-4%1 --time 1m -n 1 -- sh -c \
        'mkdir /tmp/'"${FACILITY##*/}"'.alone && sleep 0.3 && rmdir /tmp/'"${FACILITY##*/}"'.alone'
    jobs=$output
    last=$((${jobs%-*} + 3))
    # one of the last tasks waits for others and is planned all the same
    run -0 as ana job wait "$jobs"
    [ "$(field "$last" .state)" = completed ]
}

@test "a job waits for all tasks of an array, and is planned meanwhile" {
    hold=$(as ana -q submit -n 2 --time 5m --grace 1s -- sleep 300)
    await 20 job_is "$hold" running
    jobs=$(as ana -q submit --array 1-2 --time 1m -n 1 -- true)
    after=$(as ana -q submit --dependency "afterok:$jobs" --time 1m -n 1 -- true)
    [ "$(field "$after" '"\(.state) \(.reason)"')" = "held dependency" ]
    planned() { [ "$(as ana explain "$after" --json | jq -r '"\(.reason.code) \(.start_at != null)"')" = "DEPENDENCY true" ]; }
    await 20 planned
    run -0 as ana explain "$after"
    [[ "$output" == *"waits for job $((${jobs#*-})) to end"* ]]
    as ana -q job cancel "$hold"
    run -0 as ana job wait "$after"
    run -0 as ana job wait "$jobs"
}

@test "what waits for a task that fails ends with it, and cannot be asked for afterwards" {
    failing=$(as ana -q submit --hold --array 1-2 --time 1m -n 1 -- sh -c 'exit 3')
    after=$(as ana -q submit --dependency "afterok:$failing" --time 1m -n 1 -- true)
    as ana -q job release "$failing"
    await 30 job_is "$after" cancelled
    [[ "$(field "$after" .outcome)" == *"which it waited for"* || "$(field "$after" .outcome)" == *"task of the array"* ]]
    await 30 job_is "${failing#*-}" failed
    run -6 as ana submit --dependency "afterok:$failing" --time 1m -n 1 -- true
    [[ "$output" == *"did not complete"* ]]
}

@test "a singleton waits for every earlier job of its name, not only for the last" {
    first=$(as ana -q submit -J turn -n 1 --time 5m --grace 1s -- sleep 300)
    await 20 job_is "$first" running
    second=$(as ana -q submit -J turn --dependency singleton -n 1 --time 1m -- true)
    third=$(as ana -q submit -J turn --dependency singleton -n 1 --time 1m -- true)
    other=$(as ana -q submit -J other --dependency singleton -n 1 --time 1m -- true)
    run -0 as ana job wait "$other"
    as ana -q job cancel "$second"
    await 20 job_is "$second" cancelled
    [ "$(field "$third" '"\(.state) \(.reason)"')" = "held dependency" ]
    as ana -q job cancel "$first"
    run -0 as ana job wait "$third"
}

@test "an elastic job starts with what is free, and pays for that" {
    one=$(as ana -q submit -n 1 --time 5m --grace 1s -- sleep 300)
    await 20 job_is "$one" running
    some=$(as ana -q submit -n 1-2 --time 1m -- true)
    run -0 as ana job wait "$some"
    [ "$(field "$some" '.attempts[0].accelerators')" = 1 ]
    as ana -q job cancel "$one"
    await 20 job_is "$one" cancelled
    both=$(as ana -q submit -n 1-2 --time 1m -- sleep 1)
    run -0 as ana job wait "$both"
    [ "$(field "$both" '.attempts[0].accelerators')" = 2 ]
    [ "$(field "$both" .charged_mras)" -ge 4000 ] # two accelerators, begun seconds
    [ "$(field "$some" .charged_mras)" -lt "$(field "$both" .charged_mras)" ]
    run -0 as ana job show "$both"
    [[ "$output" == *"1 to 2 × any"* ]]
}

@test "a dry run says when it would start, who is in front and what would start sooner" {
    long=$(as ana -q submit -n 2 --time 20m --grace 1s -- sleep 1200)
    await 20 job_is "$long" running
    running() { [ "$(as ana submit --dry-run -n 2 --time 1m --json -- true | jq -r '.front[0].number')" = "$long" ]; }
    await 20 running
    run -0 --separate-stderr as ana submit --dry-run -n 2 --time 1m -- true
    [[ "$stderr" == *"would be accepted"*"no later than"*"before it job $long of cz, runs until"* ]]
    [ "$(as ana queue --json | jq '.items | length')" = 1 ]
    waits=$(as ana -q submit -n 2 --time 1m -- true)
    named() { as ana explain "$waits" | grep -q "next to be freed by job $long"; }
    await 20 named
    as ana -q job cancel "$waits"
    as ana -q job cancel "$long"
    await 20 job_is "$long" cancelled
}
