#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016 # jobs expand their own variables
# kill -9 at random moments of whoever stands between the broker and a job, while jobs come and go:
# I1 to I6 hold by the checker, none is lost, none runs twice at a time or after its end.
# BT_KILLS and BT_SEED choose how many and which (tests/soak/slurm.sh: 50).

load lib
load slurm

setup_file() {
    slurm_needed
    facility_start --claim-timeout 10s
    people_start
    mkdir "$FACILITY/ran"
    chmod 1777 "$FACILITY/ran"
    site_start geneva 2
    export SLURM_DIR=$FACILITY/sites/geneva/slurm
}

# Each start holds a lock for as long as it runs (half a second to 3.5), whatever ends it, and notes
# its start and end.
write_job() {
    cat >"$FACILITY/ran/job.sh" <<'JOB'
#!/bin/sh
at=$RAN/$BEAM_JOB
exec 9>>"$at.lock"
flock -n 9 || echo "$BEAM_ATTEMPT twice" >>"$at"
echo "$BEAM_ATTEMPT began" >>"$at"
sleep $(($$ % 4)).5
echo "$BEAM_ATTEMPT ended" >>"$at"
JOB
    sed -i "s|\$RAN|$FACILITY/ran|" "$FACILITY/ran/job.sh"
}

# The answer is the acknowledgement: what it names must not be lost.
submit() { # HOW-MANY
    local i id
    for ((i = 0; i < $1; i++)); do
        id=$(as ana -q submit --class h200 --time 2m --grace 1s -n 1 --max-attempts 20 \
            "$FACILITY/ran/job.sh") && echo "$id" >>"$FACILITY/acknowledged"
    done
    return 0
}

some() { shuf -n 1 --random-source=<(yes "$RANDOM"); }
moment() { # MILLISECONDS at most; the moment is the test's subject, not a wait for an event
    local ms=$((RANDOM % $1))
    sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
}

kill_controller() {
    controller_kill geneva
    moment 2000
    controller_starts geneva
}
kill_controller_and_memory() { # it loses what it wrote in its last seconds
    rm -rf "$SLURM_DIR/state.before"
    cp -a "$SLURM_DIR/state" "$SLURM_DIR/state.before"
    submit 3
    moment 4000
    controller_kill geneva
    rm -rf "$SLURM_DIR/state"
    mv "$SLURM_DIR/state.before" "$SLURM_DIR/state"
    controller_starts geneva
}
kill_slurmd() {
    local node
    node=$(printf '%s\n' geneva1 geneva2 | some)
    slurmd_kill geneva "$node"
    moment 1000
    slurmd_starts geneva "$node"
}
a_shepherd() { pgrep -f "beamtime-[a-z]* shepherd $FACILITY/sites"; }
kill_shepherd() { # at any moment of its life
    local pid
    await 30 a_shepherd || return 0
    moment 2000
    pid=$(pgrep -f "beamtime-[a-z]* shepherd $FACILITY/sites" | some)
    [ -z "$pid" ] || kill -KILL "$pid" || true # it may just have ended
}
kill_helper() {
    local pid
    pid=$(pgrep -f "beamtime-slurm $SLURM_DIR/slurm.conf")
    [ -z "$pid" ] || kill -KILL "$pid" || true # it may just have ended
}
kill_daemon() {
    daemon_kill
    daemon_start --claim-timeout 10s --listen-agents "127.0.0.1:$(port agents)"
}

# A controller that lost its memory gives the number of a job that runs to another; its node then
# drains itself ("Duplicate jobid"). The facility resumes it where both were provably its own, which a
# daemon that was killed meanwhile cannot know: then somebody has to look.
operator_looks() {
    at geneva sinfo -h -N -t drain,drained,draining -o %N | sort -u | while read -r node; do
        at geneva scontrol update nodename="$node" state=resume
    done
}
state_is_final() {
    local left
    operator_looks
    left=$(as ana queue --json | jq '.items | length')
    [ "$left" = 0 ]
}
nothing_in_slurm() { [ -z "$(at geneva squeue -h)" ]; }

# The attempts that said their end: the last one, once and as the last word; before it only such whose
# shepherd was killed when the job had just said so: the facility knows them as lost.
ends_are_right() { # JOB-AS-JSON FILE
    local n last
    last=$(jq .attempt <<<"$1")
    [ "$(tail -n 1 "$2")" = "$last ended" ] || return 1
    [ -z "$(grep ended "$2" | sort | uniq -d)" ] || return 1
    while read -r n; do
        jq -e --argjson n "$n" '.attempts[] | select(.n == $n) | .reason == "lost"' <<<"$1" >/dev/null || return 1
    done < <(awk -v last="$last" '$2 == "ended" && $1 != last {print $1}' "$2")
}

# One attempt of each acknowledged job ended well; nothing of it began after that, or beside another.
faultless() {
    local number id file job bad=0
    while read -r number; do
        job=$(as ana job show "$number" --json)
        id=$(jq -r .id <<<"$job")
        file=$FACILITY/ran/$id
        if [ "$(jq -r .state <<<"$job")" != completed ] || ! ends_are_right "$job" "$file" ||
            grep -q twice "$file" || [ -n "$(grep began "$file" | sort | uniq -d)" ]; then
            echo "job $number: $(paste -sd, "$file"); $(jq -c '[.state, .attempt, .attempts]' <<<"$job")"
            bad=1
        fi
    done <"$FACILITY/acknowledged"
    return $bad
}

@test "who said its end and lost its shepherd is lost, and tried again: only that is forgiven" {
    local file=$FACILITY/ran/said.out
    printf '#!/bin/sh\necho "$BEAM_ATTEMPT began" >>"%s"\necho "$BEAM_ATTEMPT ended" >>"%s"\n[ "$BEAM_ATTEMPT" -gt 1 ] || sleep 100\n' \
        "$file" "$file" >"$FACILITY/ran/said.sh"
    said=$(as ana -q submit --class h200 --time 2m --grace 1s -n 1 "$FACILITY/ran/said.sh")
    await 60 grep -q '^1 ended' "$file"
    kill -KILL "$(a_shepherd)"
    run -0 as ana job wait "$said"
    job=$(as ana job show "$said" --json)
    [ "$(jq -c '[.attempts[].reason]' <<<"$job")" = '["lost","exited"]' ]
    ends_are_right "$job" "$file"
    run ! ends_are_right "$(jq '.attempts[0].reason = "exited"' <<<"$job")" "$file"
    echo '2 ended' >>"$file"
    run ! ends_are_right "$job" "$file"
}

@test "kill -9 of anybody at any moment loses no job and runs none twice" {
    local kinds=(controller controller_and_memory slurmd shepherd helper daemon) i kind
    RANDOM=${BT_SEED:-7}
    write_job
    for ((i = 0; i < ${BT_KILLS:-6}; i++)); do
        kind=${kinds[i % ${#kinds[@]}]}
        submit 3
        moment 2500
        echo "kill $i: $kind" >&2
        "kill_$kind"
        operator_looks || true # it may be gone
    done
    await 240 state_is_final || {
        as ana queue >&2
        at geneva squeue >&2
        return 1
    }
    faultless >&2
    # A controller that forgot a job's end has it run on until the facility cancels it.
    await 330 nothing_in_slurm
    run -0 "$BUILD/tests/checker/bt-check" --database "host=$FACILITY/run/pg user=beamtime dbname=postgres"
    echo "# ${BT_KILLS:-6} kills, $(wc -l <"$FACILITY/acknowledged") jobs, $(cat "$FACILITY"/ran/*-* | grep -c began) starts; ${output##*$'\n'}" >&3
}
