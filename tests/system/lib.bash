# lib.bash - a private facility for a bats file: started in setup_file, ended in teardown_file.
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
#   load lib
#   setup_file() { facility_start; people_start; agent_start; }
#   teardown_file() { facility_end; }
#   @test "…" { as ana run -n 1 --time 1m -- echo hi; }
#
# $FACILITY is its state directory, $BEAMTIME the program, $PUBLIC the public listener. Ports are
# free ones. People: council (chair), cz-admin, fr-admin, ana (cz, project cz/multilingual with 10
# accelerator-hours, tier 1), louis (fr, no project). Waiting is always for a condition.

bats_require_minimum_version 1.5.0
BUILD=${BT_BUILD_ROOT:-$BATS_TEST_DIRNAME/../../build}
SOURCE=${BT_SOURCE_ROOT:-$BATS_TEST_DIRNAME/../..}
BEAMTIME=$BUILD/cli/beamtime

# Waits until a command succeeds, at most so many seconds.
await() { # SECONDS COMMAND...
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$until" ]; then
            echo "waited in vain for: $*" >&2
            return 1
        fi
        sleep 0.05
    done
}

# Also its threads: the last one gives back what the process held.
gone() { [ ! -e "/proc/$1" ] || { grep -q "^State:.Z" "/proc/$1/status" && [ "$(find "/proc/$1/task" -mindepth 1 -maxdepth 1 | wc -l)" -le 1 ]; }; }

end_process() { # PID
    kill -TERM "$1" 2>/dev/null || return 0
    await 60 gone "$1" && return
    echo "process $1 did not end: $(tr '\0' ' ' <"/proc/$1/cmdline")" >&2
    kill -KILL "$1"
    await 5 gone "$1"
    return 1
}

port() { sed -n "s/^$1 //p" "$FACILITY/run/ports"; }

# The daemon as a child of nobody, so that bats does not wait for it.
daemon_start() { # [OPTION...]
    local where=(--embedded)
    [ -z "${DATABASE-}" ] || where=(--database "$DATABASE")
    rm -f "$FACILITY/run/ready"
    (
        cd /
        exec setsid "$BUILD/daemon/beamtimed" "${where[@]}" --state-dir "$FACILITY" \
            --policy-dir "$SOURCE/policy" --listen 127.0.0.1:0 --listen-agents 127.0.0.1:0 \
            --listen-public 127.0.0.1:0 "$@" </dev/null >>"$FACILITY/beamtimed.log" 2>&1 3>&-
    ) &
    DAEMON=$!
    echo "$DAEMON" >"$FACILITY/test.daemon"
    daemon_ready || {
        tail -n 20 "$FACILITY/beamtimed.log" >&2
        return 1
    }
    export DAEMON
    follow_ports
}
# Profiles of an earlier start follow the facility to its new ports.
follow_ports() {
    local conf
    URL=https://127.0.0.1:$(port people)
    PUBLIC=http://127.0.0.1:$(port public)
    export URL PUBLIC
    for conf in "$BEAMTIME_CONFIG_DIR"/*/facility.conf; do
        [ ! -e "$conf" ] || sed -i "s|^url = .*|url = \"$URL\"|; s|^public_url = .*|public_url = \"$PUBLIC\"|" \
            "$conf"
    done
}
daemon_ready() {
    local n
    for ((n = 0; n < 1200; n++)); do
        [ ! -e "$FACILITY/run/ready" ] || return 0
        gone "$DAEMON" && return 1
        sleep 0.05
    done
    return 1
}
daemon_stop() { end_process "$(cat "$FACILITY/test.daemon")"; }
daemon_kill() {
    local pid
    pid=$(cat "$FACILITY/test.daemon")
    kill -KILL "$pid"
    await 5 gone "$pid"
}

facility_start() { # [OPTION...]
    [ -x "$BUILD/daemon/beamtimed" ] || skip "beamtimed is not built"
    FACILITY=$(mktemp -d "${TMPDIR:-/tmp}/beamtime-test.XXXXXX")
    chmod 711 "$FACILITY"
    export FACILITY BEAMTIME_CONFIG_DIR=$FACILITY/config
    unset BEAMTIME_PROFILE BEAMTIME_PROJECT
    daemon_start "$@"
    "$BEAMTIME" -q --profile council enrol --url "$URL" --public-url "$PUBLIC" \
        --ca "$FACILITY/pki/root.pem" --token-file "$FACILITY/council.token"
}

facility_end() {
    local file
    [ -n "${FACILITY-}" ] || return 0
    for file in "$FACILITY/test.agent" "$FACILITY/test.daemon"; do
        [ ! -e "$file" ] || end_process "$(cat "$file")" || HUNG=1
    done
    if [ -n "${BT_KEEP-}" ]; then
        echo "# kept: $FACILITY" >&3
    else
        rm -rf -- "$FACILITY"
    fi
    [ -z "${HUNG-}" ]
}

as() { # PROFILE COMMAND...
    local who=$1
    shift
    "$BEAMTIME" --profile "$who" "$@"
}

enrol() { # BY PERSON PROFILE
    as "$1" -q token new "$2" --file "$FACILITY/$3.token"
    as "$3" -q enrol --url "$URL" --public-url "$PUBLIC" --ca "$FACILITY/pki/root.pem" \
        --token-file "$FACILITY/$3.token"
}

people_start() {
    local code
    for code in cz fr; do
        as council -q nation add "$code" --name "Nation $code"
        as council -q person add "$code/admin" --name "Admin of $code" --roles nation_admin
        enrol council "$code/admin" "$code-admin"
        as council -q quota set "$code" --amount 100h --until 365d >/dev/null
        as "$code-admin" -q institution add "$code/university" --tier 1 --until 365d
    done
    as cz-admin -q person add cz/ana --name Ana --institution university --roles researcher
    as cz-admin -q clearance set cz/ana --tier 1 --until 365d
    as fr-admin -q person add fr/louis --name Louis --institution university --roles researcher
    as fr-admin -q clearance set fr/louis --tier 1 --until 365d
    as cz-admin -q project add cz/multilingual --title Multilingual --tier 1 --until 365d
    as cz-admin -q member add cz/multilingual cz/ana
    as cz-admin -q quota set cz/multilingual --amount 10h --until 365d >/dev/null
    enrol cz-admin cz/ana ana
    enrol fr-admin fr/louis louis
}

agent_launch() { # [OPTION...]
    local user=
    [ "$(id -u)" != 0 ] || user=nobody
    mkdir -p "$FACILITY/agent" "$FACILITY/libexec"
    chmod 711 "$FACILITY/agent"
    find "$BUILD/agent" -mindepth 2 -name 'beamtime-*' -type f -perm -1 \
        -exec install -m 755 {} "$FACILITY/libexec" ';'
    agent_options=(--state-dir "$FACILITY/agent" --url "https://127.0.0.1:$(port agents)"
        --enrol-url "$URL" --ca-file "$FACILITY/pki/root.pem" --libexec-dir "$FACILITY/libexec"
        --job-user "$user" --accelerators 2 "$@")
    [ -e "$FACILITY/agent/identity/cert.pem" ] ||
        "$BUILD/agent/beamtime-agent" "${agent_options[@]}" --token-file "$FACILITY/agent.token" enrol
    (
        cd /
        exec setsid "$BUILD/agent/beamtime-agent" "${agent_options[@]}" </dev/null \
            >>"$FACILITY/agent.log" 2>&1 3>&-
    ) &
    echo $! >"$FACILITY/test.agent"
}
agent_start() { # [OPTION...]
    agent_launch "$@"
    await 20 node_up || {
        tail -n 20 "$FACILITY/agent.log" >&2
        return 1
    }
}
agent_stop() { end_process "$(cat "$FACILITY/test.agent")"; }
node_up() { as council node list -o csv | grep -q ',up,'; }

# A field of the JSON that a command prints: json FIELD COMMAND...
json() { # JQ-FILTER COMMAND...
    local filter=$1
    shift
    "$@" | jq -r "$filter"
}

job_state() { json .state as ana job show "$1" --json; }
job_is() { [ "$(job_state "$1")" = "$2" ]; }

# Two languages for quickstart; what fetch-corpus finds complete it leaves alone.
small_corpus() { # DIR
    local lang i
    mkdir "$1"
    chmod 755 "$1"
    for lang in cs fr; do
        for ((i = 0; i < 2000; i++)); do
            echo "$lang $i: a line to learn from, and the next one is much the same"
        done >"$1/$lang.txt"
    done
    printf 'file\tlanguage\ncs.txt\tcs\nfr.txt\tfr\n' >"$1/SOURCES.tsv"
    chmod 644 "$1"/*
}
