#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016,SC2034,SC2154 # slurm.bash reads node_options; the stand-in expands its own variables; bats sets output
# Large gangs are tried before they start, and pairs of switches are measured: a daemon, a real Slurm
# of five nodes and an agent each, whose collective is the real one behind a stand-in.

load lib
load slurm

setup_file() {
    slurm_needed
    facility_start --preflight-nodes 3 --pairs-every 0s
    people_start
    mkdir -p "$FACILITY/try" "$FACILITY/pids"
    chmod 755 "$FACILITY/try"
    stand_in
    site_start geneva 5
}

# Runs the true benchmark; what it measured of a busy machine's loopback is replaced by 1 GB/s, and by
# 0.001 for links of the node that `slow` names. With `endless` it runs until somebody kills a rank.
# Each rank leaves its process id by its node's name, which the agent's state folder ends with.
stand_in() {
    cat >"$FACILITY/try/beamtime-coll" <<EOF
#!/bin/sh
node=\$(basename "\$(dirname "\$HOME")")
echo "\$\$" >"$FACILITY/pids/\$node.new" && mv "$FACILITY/pids/\$node.new" "$FACILITY/pids/\$node"
echo "\$node" >"$FACILITY/pids/rank.\$BEAM_RANK"
if [ -e "$FACILITY/endless" ]; then
    exec "$FACILITY/libexec/beamtime-coll" "\$@" -n 1000000
fi
"$FACILITY/libexec/beamtime-coll" "\$@" || exit
[ "\$BEAM_RANK" = 0 ] || exit 0
for last; do :; done
exec "$FACILITY/try/even" "\$last"
EOF
    cat >"$FACILITY/try/even" <<EOF
#!/bin/sh
cd "$FACILITY/pids" || exit
slow=\$(cat "$FACILITY/slow" 2>/dev/null) rank=-1
for file in rank.*; do [ "\$(cat "\$file")" != "\$slow" ] || rank=\${file#rank.}; done
jq --argjson r "\$rank" '.links |= map(.bus_bw = if .from == \$r or .to == \$r then 0.001 else 1 end)' \
    "\$1" >"\$1.new" && mv "\$1.new" "\$1"
EOF
    chmod 755 "$FACILITY/try/beamtime-coll" "$FACILITY/try/even"
}

# Two leaf switches: nodes 1 to 3, and 4 and 5.
node_options() { # SITE NODE
    local leaf=1
    case $2 in *[45]) leaf=2 ;; esac
    node_options=(--state-dir "$FACILITY/sites/$1/$2" --url "https://127.0.0.1:$(port agents)"
        --enrol-url "$URL" --ca-file "$FACILITY/pki/root.pem" --libexec-dir "$FACILITY/try"
        --job-user "$(site_user)" --class h200 --accelerators 8 --shepherds slurm
        --measure-every 0s --measure-bytes 256KiB --leaf "$leaf" --pod 1)
}

gang() { # NODES
    as ana -q submit --class h200 --time 5m -n "$(($1 * 8))" --per-node 8 --wrap 'echo "$SLURM_NNODES ran"'
}
node() { as council node show "$1" --json | jq -r ".items[0].$2"; }
is() { [ "$(node "$1" "$2")" = "$3" ]; }
attempts() { as ana job show "$1" --json | jq '.attempts | length'; }
spent() { as council quota show cz --json | jq -r '.. | .spent_mras? // empty' | head -n 1; }
pair() { # LEAF LEAF FIELD
    as council site show geneva --json | jq -r ".row.pairs[]? | select(.leaf_a == $1 and .leaf_b == $2) | .$3"
}

@test "a gang is tried first, and what its links gave is in the inventory" {
    job=$(gang 5)
    run -0 as ana job wait "$job"
    [ "$(attempts "$job")" = 1 ]
    [ "$(cat "$FACILITY"/pids/rank.* | sort -u | wc -l)" = 5 ]
    # the facility's numbers of the switches that Slurm names
    near=$(node geneva1 leaf) far=$(node geneva5 leaf)
    for leaves in "$near $near" "$near $far" "$far $far"; do
        # shellcheck disable=SC2086 # two numbers
        [ "$(pair $leaves busbw_mb_per_s)" -gt 0 ]
    done
    run -0 as council node show geneva1
    [[ "$output" == *"leaf $near-$far"*"GB/s between geneva"* ]]
    rm "$FACILITY"/pids/*
    small=$(gang 2) # too small to be tried
    run -0 as ana job wait "$small"
    [ -z "$(ls "$FACILITY/pids")" ]
}

@test "a peer that is killed in the middle is named and spared, and the gang starts without it" {
    before=$(spent)
    touch "$FACILITY/endless"
    job=$(gang 3)
    await 60 all_ranks 3
    await 60 swapping
    victim=$(cat "$FACILITY/pids/rank.1")
    rm "$FACILITY/endless" # for the next attempt
    kill -KILL "$(cat "$FACILITY/pids/$victim")"
    run -0 as ana job wait "$job"
    [ "$(as ana -q job log "$job" | sort -u)" = "3 ran" ]
    [ "$(attempts "$job")" = 2 ]
    run -0 as ana job show "$job" --json
    [[ "$(jq -r '.attempts[0].reason' <<<"$output")" == "preflight: node $victim: its part of a trial ended without a word" ]]
    is "$victim" state degraded
    [[ "$(node "$victim" reason)" == "fabric: "* ]]
    # what the failed attempt held was given back whole: the other one is all that was spent
    [ "$(jq -r .charged_mras <<<"$output")" = "$(($(spent) - before))" ]
    as council -q node resume "$victim"
}
# The ranks have found each other: some swap data, which the others wait for.
swapping() {
    local file ticks
    for file in "$FACILITY"/pids/rank.*; do
        ticks=$(awk '{ print $14 + $15 }' "/proc/$(cat "$FACILITY/pids/$(cat "$file")")/stat")
        [ "$ticks" -lt 20 ] || return 0
    done
    return 1
}
all_ranks() { [ "$(find "$FACILITY/pids" -name 'rank.*' | wc -l)" = "$1" ]; }

@test "a node whose agent dies did not answer, and its rank dies with it" {
    rm -f "$FACILITY"/pids/*
    touch "$FACILITY/endless"
    job=$(gang 3)
    await 60 all_ranks 3
    await 60 swapping
    victim=$(cat "$FACILITY/pids/rank.1")
    rm "$FACILITY/endless"
    kill -KILL "$(cat "$FACILITY/sites/geneva/$victim.pid")"
    await 10 gone "$(cat "$FACILITY/pids/$victim")"
    run -0 as ana job wait "$job"
    run -0 as ana job show "$job" --json
    [[ "$(jq -r '.attempts[0].reason' <<<"$output")" == "preflight: node $victim: it did not answer in a trial" ]]
    [ "$(node "$victim" state)" != up ]
    node_start geneva "$victim"
}

@test "a trial in whose middle the daemon dies is begun again, and its time is not the job's" {
    for n in 1 2 3 4 5; do as council -q node resume "geneva$n"; done
    await 60 nodes_up geneva 5
    rm -f "$FACILITY"/pids/*
    touch "$FACILITY/endless"
    job=$(gang 3)
    await 60 all_ranks 3
    await 60 swapping
    rm -f "$FACILITY/endless" "$FACILITY"/pids/*
    daemon_kill
    daemon_start --preflight-nodes 3 --pairs-every 0s --listen-agents "127.0.0.1:$(port agents)"
    run -0 as ana job wait "$job"
    [ "$(find "$FACILITY/pids" -name 'rank.*' | wc -l)" = 3 ] # it was tried, not waved through
    run -0 as ana job show "$job" --json
    [ "$(jq '.attempts | length' <<<"$output")" = 1 ]
    jq -e '.attempts[0] | .tried_at >= .wanted_at and .tried_at < .claimed_at' <<<"$output"
    # from its claim on, in whole seconds, and what passed before the trial began
    [ "$(jq '(.charged_mras | tonumber) - 24000 *
        ([.attempts[0] | .tried_at, .wanted_at, .ended_at, .claimed_at |
            sub("\\.[0-9]+"; "") | fromdate] | .[0] - .[1] + .[2] - .[3] + 3) | . <= 0' <<<"$output")" = true ]
}

@test "a slow link keeps a gang away, its ends are named in the status and measure their way back" {
    for n in 1 2 3 4 5; do as council -q node resume "geneva$n"; done
    await 60 nodes_up geneva 5
    echo geneva5 >"$FACILITY/slow"
    job=$(gang 5)
    await 60 is geneva5 state degraded
    [ "$(node geneva5 reason)" = "fabric: 0.00 GB/s between geneva4 and geneva5, below 0.8 of the median 1.00" ]
    is geneva4 state degraded
    for other in 1 2 3; do is "geneva$other" state up; done
    [ "$(job_state "$job")" = queued ]
    run -0 as council status
    [[ "$output" == *"leaf2"*"fabric: 0.00 GB/s"* ]]
    rm "$FACILITY/slow"
    as council -q node measure geneva5 --pairs # at once, not in ten minutes
    await 60 nodes_up geneva 5
    run -0 as ana job wait "$job"
}

@test "only an agent that can take part is asked, and only an operator asks" {
    run as ana node measure geneva1 --pairs
    [ "$status" -eq 5 ]
    run as council node measure nobody --pairs
    [ "$status" -eq 3 ]
}
