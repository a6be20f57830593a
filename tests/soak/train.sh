#!/bin/bash
# train.sh - kills beamtime-train at random moments; what is resumed ends in an undisturbed run's bytes.
# SPDX-License-Identifier: GPL-3.0-or-later
#
# BT_SEED gives signals and moments, BT_KILLS how many (24). Half are −9, the others SIGTERM and
# SIGUSR1, after which the run must say 85. Every run that is through begins anew.
set -uo pipefail
train=${BT_BUILD_ROOT:?the build folder}/agent/train/beamtime-train
kills=${BT_KILLS:-24}
RANDOM=${BT_SEED:-1}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
settings=(--set layers=2 --set width=64 --set heads=2 --set kv_heads=1 --set head_dim=32 --set ffn=96
    --set context=64 --set steps=160 --set warmup=10 --set checkpoint_every=10 --set eval_every=40
    --set peak_gflops=100)

fail() {
    echo "train: $1" >&2
    tail -n 5 "$dir/said" >&2
    exit 1
}

mkdir "$dir/corpus"
for i in $(seq 900); do printf 'Zeile %d: Straßenbahnen fahren im Kreis.\n' $((i * i)); done >"$dir/corpus/de.txt"
for i in $(seq 500); do printf 'Řádek %d: tramvaje jezdí dokola.\n' $((i * 7)); done >"$dir/corpus/cs.txt"
run() { "$train" --corpus "$dir/corpus" --output "$dir/$1" "${settings[@]}" >"$dir/said" 2>&1; }
run_alone() { exec "$train" --corpus "$dir/corpus" --output "$dir/$1" "${settings[@]}" >"$dir/said" 2>&1; }

start=${EPOCHREALTIME/./}
run whole || fail "the undisturbed run failed"
lasts_ms=$(((${EPOCHREALTIME/./} - start) / 1000))

same() {
    cmp -s "$dir/whole/model.safetensors" "$dir/$1/model.safetensors" || fail "run $1 ended in other weights"
    cmp -s "$dir/whole.checkpoint/step-0000000160.ckpt" "$dir/$1.checkpoint/step-0000000160.ckpt" ||
        fail "run $1 ended in another checkpoint"
    [ -z "$(find "$dir/$1" "$dir/$1.checkpoint" -name '*.tmp')" ] || fail "run $1 left half-written files"
}

done_kills=0 through=0 number=1
while [ $done_kills -lt "$kills" ]; do
    signal=$(case $((RANDOM % 4)) in 0) echo TERM ;; 1) echo USR1 ;; *) echo KILL ;; esac)
    moment_ms=$((RANDOM % (lasts_ms / 2 + 1)))
    run_alone "r$number" &
    pid=$!
    # the moment is the test's subject, not a wait for an event
    sleep "$((moment_ms / 1000)).$(printf %03d $((moment_ms % 1000)))"
    kill -"$signal" "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    status=$?
    case $status in
    0)
        same "r$number"
        through=$((through + 1))
        number=$((number + 1))
        ;;
    85) [ "$signal" != KILL ] || fail "asked for requeue without being told" ;;
    137 | 138 | 143) ;; # before its handlers stood, or −9
    *) fail "status $status after $signal at $moment_ms ms" ;;
    esac
    [ $status = 0 ] || {
        done_kills=$((done_kills + 1))
        [ ! -e "$dir/r$number/README.md" ] || fail "a run that was stopped published"
    }
done
run "r$number" || fail "the last run failed"
same "r$number"
printf '{"soak":"train","seed":%s,"kills":%d,"runs":%d,"undisturbed_ms":%d,"identical":true}\n' \
    "${BT_SEED:-1}" "$done_kills" $((through + 1)) "$lasts_ms"
