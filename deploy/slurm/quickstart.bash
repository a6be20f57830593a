# quickstart.bash - a Slurm of four nodes on this machine, for deploy/quickstart --slurm.
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# shellcheck disable=SC2154 # state, top, build, bin and the small functions are quickstart's
#
# Debian's own munged, slurmctld and slurmd, everything below $state/slurm (tests/slurm/testbed); an
# agent a node below $state/nodes. Nodes c1 to c4 offer one processor each.

slurm_nodes='c1 c2 c3 c4'
export TB_CLUSTER=cluster TB_PREFIX=c TB_GPUS=0 TB_CPUS=1

testbed() { "$top/tests/slurm/testbed" "$1" "$state/slurm" 4; }
slurm_answers() { SLURM_CONF=$state/slurm/slurm.conf timeout 5 scontrol ping 2>/dev/null | grep -q UP; }

# Five ports in a row that nobody has.
slurm_port() {
    local base i
    if [ ! -s "$state/slurm.port" ]; then
        for base in 16800 17810 18820 19830 20840; do
            for ((i = base; i < base + 5; i++)); do ! taken "$i" || continue 2; done
            break
        done
        echo "$base" >"$state/slurm.port"
    fi
    cat "$state/slurm.port"
}

slurm_user() { if [ "$(id -u)" = 0 ]; then job_user; else id -un; fi; }

slurm_cluster() {
    TB_PORT=$(slurm_port)
    export TB_PORT
    slurm_answers || testbed start
    as council site add cluster --slurm-conf "$state/slurm/slurm.conf" --tier 1 --until 365d \
        --user "$(slurm_user)" --agent "$state/libexec/beamtime-agent" --agent-dir "$state/nodes/%n"
    await 300 slurm_checked
    tell "slurmctld and 4 slurmd on 127.0.0.1:$TB_PORT ($(slurm_version)); $(slurm_findings)"
}
slurm_version() { as council site show cluster | sed -n 's/^cluster .*, //p'; }
slurm_checked() { slurm_findings | grep -q ' 0 wrong'; }
slurm_findings() { { as council site check cluster || true; } | tail -n 1; }

slurm_agent() { # NODE
    local options
    mkdir -p "$state/nodes/$1"
    chmod 711 "$state/nodes" "$state/nodes/$1"
    options=(--state-dir "$state/nodes/$1" --url "https://127.0.0.1:$(port agents)"
        --enrol-url "$(url)" --ca-file "$state/pki/root.pem" --libexec-dir "$state/libexec"
        --job-user "$(slurm_user)" --class cpu --accelerators 1 --shepherds slurm)
    if [ ! -e "$state/nodes/$1/identity/cert.pem" ]; then
        rm -f "$state/nodes/$1.token"
        as council token new "$1" --kind agent --file "$state/nodes/$1.token"
        "$build/agent/beamtime-agent" "${options[@]}" --token-file "$state/nodes/$1.token" enrol
        rm -f "$state/nodes/$1.token"
    fi
    (
        cd /
        setsid nohup "$build/agent/beamtime-agent" "${options[@]}" </dev/null \
            >>"$state/nodes/$1.log" 2>&1 3>&- &
        echo $! >"$state/nodes/$1.pid"
    )
}

slurm_agents() {
    local node
    for node in $slurm_nodes; do
        alive "$state/nodes/$node.pid" beamtime-agent || slurm_agent "$node"
    done
    await 600 slurm_up
    tell "$(node_text); jobs run as $(slurm_user)"
}
slurm_up() { [ "$(as council node list -o csv 2>/dev/null | grep -c '^c[1-4],cluster,.*,up,')" = 4 ]; }

slurm_stop() {
    local node pid
    for node in $slurm_nodes; do
        if pid=$(alive "$state/nodes/$node.pid" beamtime-agent); then stop_one "agent $node" "$pid"; fi
    done
}
slurm_end() {
    [ -e "$state/slurm/run/slurmctld.pid" ] || return 0
    testbed stop
    printf '  %-10s stopped\n' cluster
}
