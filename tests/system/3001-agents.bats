#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016 # jobs expand their own variables
# The node's agent: whoever is killed, a job ends once, is accounted for, and leaves no process.

load lib

setup_file() {
    facility_start
    people_start
    agent_start
}
teardown_file() { facility_end; }

agent_pid() { cat "$FACILITY/test.agent"; }
agent_kill() {
    kill -KILL "$(agent_pid)"
    await 5 gone "$(agent_pid)"
}
# The job's processes are known by their environment; other facilities of this machine count jobs too.
processes_of() { # NUMBER
    local id
    id=$(json .id as ana job show "$1" --json)
    grep -lsz "^BEAM_JOB=$id\$" /proc/[0-9]*/environ | cut -d/ -f3
}
nothing_of() { [ -z "$(processes_of "$1")" ]; }
shepherd_of() { # NUMBER
    local id dir
    id=$(json .id as ana job show "$1" --json)
    for dir in "$FACILITY/agent/attempts/$id".*; do
        pgrep -f "beamtime-[a-z]* shepherd $dir"
    done
}
logged() { as ana -q job log "$1" | grep -q "$2"; }
let_go() {
    local dir
    for dir in "$FACILITY"/agent/work/*/scratch; do touch "$dir/go"; done
}
start() { # SCRIPT [OPTION...]
    local script=$BATS_TEST_TMPDIR/job.sh
    printf '#!/bin/sh\n%s\n' "$1" >"$script"
    shift
    as ana -q submit -n 1 --time 5m --grace 1s "$@" "$script"
}

@test "a node shows what it is made of" {
    run -0 as council node list --json
    [ "$(jq -r '.items[0].inventory.cores >= 1' <<<"$output")" = true ]
    [ "$(jq -r '.items[0].accelerators' <<<"$output")" = 2 ]
    [ "$(jq -r '.items[0].class' <<<"$output")" = cpu ]
}

@test "a second agent on the same state is refused" {
    run "$BUILD/agent/beamtime-agent" --state-dir "$FACILITY/agent" \
        --url "https://127.0.0.1:$(port agents)" --ca-file "$FACILITY/pki/root.pem"
    [ "$status" -eq 6 ]
    [[ "$output" == *"another agent runs"* ]]
}

@test "a token enrols once" {
    run "$BUILD/agent/beamtime-agent" --state-dir "$BATS_TEST_TMPDIR/other" --enrol-url "$URL" \
        --ca-file "$FACILITY/pki/root.pem" --token-file "$FACILITY/agent.token" enrol
    [ "$status" -eq 4 ]
    [ ! -e "$BATS_TEST_TMPDIR/other/identity/cert.pem" ]
}

@test "a certificate that ends soon is renewed, with the same key" {
    digest() { sha256sum "$FACILITY/agent/identity/$1.pem"; }
    cert=$(digest cert) key=$(digest key)
    renewed() { [ "$(digest cert)" != "$cert" ]; }
    agent_kill
    agent_start --renew-before 90d # it has a little less
    await 20 renewed
    [ "$(digest key)" = "$key" ]
    agent_kill
    agent_start # which must use it
    run -0 as ana run -n 1 --time 1m -- echo with the new one
}

@test "a job goes on while its agent is killed and started again" {
    job=$(start 'echo first; while [ ! -e "$BEAM_SCRATCH/go" ]; do sleep 0.1; done; echo last')
    await 20 logged "$job" first
    agent_kill
    [ -n "$(processes_of "$job")" ]
    let_go
    await 20 nothing_of "$job"
    agent_start
    run -0 as ana job wait "$job"
    run -0 as ana -q job log "$job"
    [ "$output" = $'first\nlast' ]
    [ "$(json '.attempts | length' as ana job show "$job" --json)" = 1 ]
}

@test "a job goes on while the daemon is killed and started again" {
    job=$(start 'echo first; while [ ! -e "$BEAM_SCRATCH/go" ]; do sleep 0.1; done; echo last')
    await 20 logged "$job" first
    agents=$(port agents)
    daemon_kill
    let_go
    await 20 test -e "$(echo "$FACILITY"/agent/attempts/*.1)/manifest.json"
    daemon_start --listen-agents "127.0.0.1:$agents"
    run -0 as ana job wait "$job"
    run -0 as ana -q job log "$job"
    [ "$output" = $'first\nlast' ]
}

put_log() { # JOB ATTEMPT TEXT: the answer's status
    curl -s -o /dev/null -w '%{http_code}' --cacert "$FACILITY/pki/root.pem" \
        --cert "$FACILITY/agent/identity/cert.pem" --key "$FACILITY/agent/identity/key.pem" \
        -X PUT -H 'Content-Type: application/octet-stream' --data-binary "$3" \
        "https://127.0.0.1:$(port agents)/v1/agent/jobs/$1/log?attempt=$2&stream=metrics&offset=0"
}

@test "the first part of a log is taken at once, from the attempt's own node only" {
    job=$(start 'echo first; while [ ! -e "$BEAM_SCRATCH/go" ]; do sleep 0.1; done')
    await 20 logged "$job" first
    agents=$(port agents)
    daemon_kill
    daemon_start --listen-agents "127.0.0.1:$agents" # it knows nothing of whose attempt this is
    id=$(json .id as ana job show "$job" --json)
    answers="$(put_log "$id" 2 '{}') $(put_log "$id" 1 '{"step":1}') $(put_log "$id" 1 '{"step":2}')"
    [ "$answers" = "403 200 409" ] || { echo "$answers" >&2 && false; }
    run -0 as ana -q job log "$job" --stream metrics
    [ "$output" = '{"step":1}' ]
    let_go
    run -0 as ana job wait "$job"
}

@test "a job whose shepherd is killed is lost once and leaves no process" {
    job=$(start 'echo up; (setsid sleep 300 &) ; sleep 300' --no-requeue)
    await 20 logged "$job" up || { as ana explain "$job" >&2; as council node list >&2; false; }
    pid=$(shepherd_of "$job")
    kill -KILL "$pid"
    run -1 as ana job wait "$job"
    nothing_of "$job"
    [ "$(json '.attempts[0].reason' as ana job show "$job" --json)" = lost ]
    [ "$(json '.attempts | length' as ana job show "$job" --json)" = 1 ]
    [ "$(json .charged_mras as ana job show "$job" --json)" = 0 ]
}

@test "a job that the facility lost runs again and finds its checkpoint" {
    job=$(start 'if [ -e "$BEAM_CHECKPOINT/half" ]; then echo resumed; exit 0; fi
        touch "$BEAM_CHECKPOINT/half"; echo up; sleep 300' --requeue=on-facility)
    await 20 logged "$job" up || { as ana explain "$job" >&2; as council node list >&2; false; }
    kill -KILL "$(shepherd_of "$job")"
    run -0 as ana job wait "$job"
    run -0 as ana -q job log "$job"
    [[ "$output" == *resumed* ]]
    [ "$(json '.attempts | length' as ana job show "$job" --json)" = 2 ]
}

@test "a cancelled job's escapees end with it" {
    job=$(start 'echo up; (setsid sh -c "trap \"\" TERM; while :; do sleep 1; done" >/dev/null 2>&1 &)
        trap "" TERM; while :; do sleep 1; done')
    await 20 logged "$job" up || { as ana explain "$job" >&2; as council node list >&2; false; }
    as ana job cancel "$job"
    run as ana job wait "$job"
    [ "$(job_state "$job")" = cancelled ]
    nothing_of "$job"
}

@test "links out of the output folder are not published" {
    job=$(start 'cd "$BEAM_OUTPUT"; echo good >good; ln -s /etc/passwd stolen; ln -s / root')
    run -0 as ana job wait "$job"
    run -0 as ana job log "$job" --stream err
    [[ "$output" == *"stolen: is a symbolic link"* ]]
    record=$(json .record as ana job show "$job" --json)
    run -0 curl -sS "http://127.0.0.1:$(port public)/record/$record"
    [[ "$output" == *good* ]]
    [[ "$output" != *stolen* ]]
}

@test "a program that cannot be run is the job's own failure, said in its log" {
    run -127 --separate-stderr as ana -q run -n 1 --time 1m -- no-such-program
    job=$(as ana job list --limit 1 -o name)
    [ "$(json '.attempts | length' as ana job show "$job" --json)" = 1 ]
    run -0 as ana job log "$job" --stream err
    [[ "$output" == *"no-such-program"* ]]
}

@test "a job that checkpoints on its signal is run again" {
    job=$(start 'if [ -e "$BEAM_CHECKPOINT/n" ]; then echo again; exit 0; fi
        touch "$BEAM_CHECKPOINT/n"; exit 85')
    run -0 as ana job wait "$job"
    run -0 as ana -q job log "$job"
    [[ "$output" == *again* ]]
}

@test "nothing of a finished job is left on the node" {
    await 20 sh -c "[ -z \"\$(ls '$FACILITY'/agent/attempts | grep -v contact)\" ]"
    [ -z "$(find "$FACILITY/agent/work" -mindepth 1 -not -name '*.checkpoint' -not -path '*.checkpoint/*')" ]
}
