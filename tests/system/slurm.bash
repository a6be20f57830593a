# slurm.bash - Slurm clusters under a test's facility: one site a testbed, an agent a node.
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# shellcheck disable=SC2016,SC2154 # FACILITY, BUILD, SOURCE, URL are lib.bash's; jobs expand their own variables
#
#   load lib; load slurm
#   setup_file() { slurm_needed; facility_start; people_start; site_start geneva 4; }
#   and what is left at the end is ended by teardown_file below, unless the file has its own.
#
# SITE_REMOTE=yes: the site's helper runs at the site and calls (helper_start SITE).
# Agents run with the options of $NODE_EXTRA besides, by the command $NODE_INSIDE (both arrays).
# Every testbed takes its ports from 20000 up, by the process number, so that files run side by side.

NODE_EXTRA=() NODE_INSIDE=()

slurm_needed() {
    [ -x "$BUILD/daemon/clusters/helper/beamtime-slurm" ] || skip "beamtime-slurm is not built"
    command -v slurmctld slurmd munged >/dev/null || skip "Slurm is not installed: deploy/install-deps --tests"
}

# Jobs of people who are not mapped: never root.
site_user() { if [ "$(id -u)" = 0 ]; then echo nobody; else id -un; fi; }

site_start() { # NAME NODES [OPTION of site add...]; SITE_EXTRA: lines for slurm.conf
    local name=$1 n=$2 port i
    local where=(--slurm-conf "$FACILITY/sites/$name/slurm/slurm.conf")
    [ -z "${SITE_REMOTE-}" ] || where=(--remote)
    shift 2
    mkdir -p "$FACILITY/libexec" "$FACILITY/sites/$name"
    chmod 755 "$FACILITY/libexec" "$FACILITY/sites" "$FACILITY/sites/$name"
    find "$BUILD/agent" -name 'beamtime-*' -type f -perm -1 -exec install -m 755 {} "$FACILITY/libexec" ';'
    port=$((20000 + ($$ * 67 + $(find "$FACILITY/sites" -maxdepth 1 | wc -l) * 40) % 12000))
    TB_PORT=$port TB_PREFIX=$name TB_CLUSTER=$name TB_EXTRA=${SITE_EXTRA-} \
        "$SOURCE/tests/slurm/testbed" start "$FACILITY/sites/$name/slurm" "$n" >&2 3>&-
    as council -q rate set h200 --rate 1 --peak-gflops 1000000
    as council -q site add "$name" "${where[@]}" --tier 1 \
        --until 365d --user "$(site_user)" --agent "$FACILITY/libexec/beamtime-agent" \
        --agent-dir "$FACILITY/sites/$name/%n" "$@"
    if [ -n "${SITE_REMOTE-}" ]; then
        helper_enrol "$name"
        helper_start "$name"
    fi
    for ((i = 1; i <= n; i++)); do
        node_enrol "$name" "$name$i"
        node_start "$name" "$name$i"
    done
    await 60 nodes_up "$name" "$n" || {
        as council site show "$name" >&2
        as council site diff "$name" >&2
        as council node list >&2
        tail -n 20 "$FACILITY/beamtimed.log" >&2
        return 1
    }
}

nodes_up() { # SITE N
    [ "$(as council node list --json | jq "[.items[] | select(.site == \"$1\" and .state == \"up\")] | length")" = "$2" ]
}

node_options() { # SITE NODE
    node_options=(--state-dir "$FACILITY/sites/$1/$2" --url "https://127.0.0.1:$(port agents)"
        --enrol-url "$URL" --ca-file "$FACILITY/pki/root.pem" --libexec-dir "$FACILITY/libexec"
        --job-user "$(site_user)" --class h200 --accelerators 8 --shepherds slurm "${NODE_EXTRA[@]}")
}
node_enrol() { # SITE NODE
    node_options "$@"
    mkdir -p "$FACILITY/sites/$1/$2"
    chmod 711 "$FACILITY/sites/$1/$2"
    as council -q token new "$2" --kind agent --file "$FACILITY/$2.token"
    "${NODE_INSIDE[@]}" "$BUILD/agent/beamtime-agent" "${node_options[@]}" \
        --token-file "$FACILITY/$2.token" enrol
}
node_start() { # SITE NODE [OPTION...]
    node_options "$@"
    (
        cd /
        exec setsid "${NODE_INSIDE[@]}" "$BUILD/agent/beamtime-agent" "${node_options[@]}" "${@:3}" </dev/null \
            >>"$FACILITY/sites/$1/$2.log" 2>&1 3>&-
    ) &
    echo $! >"$FACILITY/sites/$1/$2.pid"
}
# The helper at a site: like an agent, but its certificate names the site.
helper_options() { # SITE
    helper_options=(--state-dir "$FACILITY/sites/$1/helper" --url "https://127.0.0.1:$(port agents)"
        --enrol-url "$URL" --ca-file "$FACILITY/pki/root.pem"
        --libexec-dir "$BUILD/daemon/clusters/helper" --renew-before 90d)
}
helper_enrol() { # SITE
    helper_options "$1"
    as council -q token new "$1" --kind helper --file "$FACILITY/$1.token"
    "$BUILD/agent/beamtime-agent" "${helper_options[@]}" --token-file "$FACILITY/$1.token" enrol
}
helper_start() { # SITE
    helper_options "$1"
    (
        cd /
        exec setsid "$BUILD/agent/beamtime-agent" "${helper_options[@]}" helper \
            "$FACILITY/sites/$1/slurm/slurm.conf" </dev/null >>"$FACILITY/sites/$1/helper.log" 2>&1 3>&-
    ) &
    echo $! >"$FACILITY/sites/$1/helper.pid"
}
controller() { cat "$FACILITY/sites/$1/slurm/run/slurmctld.pid"; } # SITE
controller_kill() {                                                      # SITE
    local pid
    pid=$(controller "$1")
    kill -KILL "$pid"
    await 20 gone "$pid" # its port and its files are free
}
controller_starts() { "$SOURCE/tests/slurm/testbed" controller "$FACILITY/sites/$1/slurm" 3>&-; } # SITE
slurmd_kill() {                                                                                # SITE NODE
    local pid
    pid=$(cat "$FACILITY/sites/$1/slurm/run/slurmd-$2.pid")
    kill -KILL "$pid"
    await 20 gone "$pid"
}
# Until its pid file is there: the one of a killed slurmd must not be taken for the new one's.
slurmd_starts() { # SITE NODE
    local file=$FACILITY/sites/$1/slurm/run/slurmd-$2.pid
    rm -f "$file"
    (SLURM_CONF=$FACILITY/sites/$1/slurm/slurm.conf
        export SLURM_CONF
        exec -a slurmd /usr/sbin/slurmd -N "$2" -d /usr/sbin/slurmstepd 3>&-)
    await 20 test -s "$file"
}
# A job of ana's at a site with a fence.
runs_under_its_account() {
    local job script=$BATS_TEST_TMPDIR/job.sh
    printf '#!/bin/sh\necho "Slurm $SLURM_JOB_ID"\n' >"$script"
    job=$(as ana -q submit --class h200 --time 5m --grace 1s -n 8 "$script")
    run -0 as ana job wait "$job"
    run -0 at geneva scontrol show job "$(as ana -q job log "$job" | sed -n '/Slurm/{s/.*Slurm //p;q}')"
    [[ "$output" == *"Account=bt_cz_multilingual QOS=bt_cz_multilingual"* ]]
}
at() { # SITE COMMAND... of Slurm
    local conf=$FACILITY/sites/$1/slurm/slurm.conf
    shift
    SLURM_CONF=$conf "$@"
}

sites_end() {
    local file dir
    [ -n "${FACILITY-}" ] || return 0
    for file in "$FACILITY"/sites/*/*.pid; do
        # shellcheck disable=SC2034 # facility_end fails then
        [ ! -e "$file" ] || end_process "$(cat "$file")" || HUNG=1
    done
    for dir in "$FACILITY"/sites/*/slurm; do
        [ ! -d "$dir" ] || "$SOURCE/tests/slurm/testbed" stop "$dir" 3>&-
    done
}

teardown_file() {
    sites_end
    facility_end
}
