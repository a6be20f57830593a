#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016,SC2034 # jobs expand their own variables; NODE_EXTRA is slurm.bash's
# Large files stay in their site's storage; the facility sends readers to the site's web server, and
# who reads them checks them against the record.

load lib
load slurm

setup_file() {
    slurm_needed
    command -v busybox >/dev/null || skip "no busybox for a web server: deploy/install-deps --tests"
    facility_start
    people_start
    mkdir -p "$FACILITY/storage/sha256" "$FACILITY/sites/geneva"
    storage_start
    NODE_EXTRA=(--blob-dir "$FACILITY/storage" --blob-from 64KiB)
    site_start geneva 1 --blobs "$STORAGE/"
}

# The first port that nobody has, below those of the testbeds.
storage_start() {
    local port pid
    for ((port = 18000 + $$ % 900; port < 20000; port++)); do
        busybox httpd -f -p "127.0.0.1:$port" -h "$FACILITY/storage" </dev/null >/dev/null 2>&1 3>&- &
        pid=$!
        await 10 listens_or_gone "$port" "$pid"
        kill -0 "$pid" 2>/dev/null || continue
        echo "$pid" >"$FACILITY/sites/geneva/storage.pid"
        export STORAGE=http://127.0.0.1:$port
        return 0
    done
    return 1
}
listens_or_gone() { gone "$2" || [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$1/")" = 404 ]; } # PORT PID

site_says_blobs() { # [OPTION...]: the site as it is, with these
    as council -q site add geneva --slurm-conf "$FACILITY/sites/geneva/slurm/slurm.conf" \
        --user "$(site_user)" --agent "$FACILITY/libexec/beamtime-agent" \
        --agent-dir "$FACILITY/sites/geneva/%n" "$@"
}

# A job that leaves SEED's megabyte and a few words; its record.
published() { # SEED
    local job script=$BATS_TEST_TMPDIR/job.sh
    printf '#!/bin/sh\necho "%s" >"$BEAM_OUTPUT/note"\nyes "%s" | head -c 1000000 >"$BEAM_OUTPUT/model"\n' \
        "$1" "$1" >"$script"
    job=$(as ana -q submit --class h200 --time 5m --grace 1s -n 1 "$script")
    as ana job wait "$job" >/dev/null
    json .record as ana job show "$job" --json
}
digest() { yes "$1" | head -c 1000000 | sha256sum | cut -d' ' -f1; } # SEED
at_facility() { [ -e "$FACILITY/blobs/sha256/${1:0:2}/$1" ]; }      # DIGEST
at_site() { [ -e "$FACILITY/storage/sha256/${1:0:2}/$1" ]; }        # DIGEST
verified() { as ana ledger verify --record "$1" --files; }          # RECORD

@test "a site shows where it gives out what it keeps" {
    run -0 as council site show geneva
    [[ "$output" == *$'\nblobs         kept there, at '"$STORAGE"$'\n'* ]]
    run -2 as council site add geneva --slurm-conf /etc/slurm.conf --blobs ftp://example.org
    [[ "$output" == *"begins neither with https:// nor http://"* ]]
}

@test "a large file stays at the site, and everybody finds it from the record" {
    record=$(published red)
    at_site "$(digest red)"
    run ! at_facility "$(digest red)"
    run -0 curl -s -o /dev/null -w '%{http_code} %{redirect_url}' "$PUBLIC/blob/sha256/$(digest red)"
    [ "$output" = "307 $STORAGE/sha256/$(digest red | cut -c1-2)/$(digest red)" ]
    [ "$(curl -sL "$PUBLIC/record/$record/files/model" | sha256sum | cut -d' ' -f1)" = "$(digest red)" ]
    run -0 curl -sL "$PUBLIC/record/$record/files/note"
    [ "$output" = red ]
    await 90 verified "$record"
}

@test "what the site lost or changed is found by who verifies" {
    record=$(published green)
    await 90 verified "$record"
    file=$FACILITY/storage/sha256/$(digest green | cut -c1-2)/$(digest green)
    printf x | dd of="$file" conv=notrunc status=none
    run ! verified "$record"
    [[ "$output" == *"the file model is not the one that was published"* ]]
    rm "$file"
    run ! verified "$record"
    [[ "$output" == *"$(digest green) is not there"* ]]
}

@test "where the site gives nothing out, files go to the facility" {
    site_says_blobs
    record=$(published blue)
    at_facility "$(digest blue)"
    await 90 verified "$record"
    grep -q not_kept_here "$FACILITY/sites/geneva/geneva1.log"
    run -0 curl -s "$PUBLIC/blob/sha256/$(digest red)"
    [ "$(jq -r .detail <<<"$output")" = "the site that keeps this blob gives out none now" ]
    site_says_blobs --blobs "$STORAGE"
    [ "$(curl -sL "$PUBLIC/blob/sha256/$(digest red)" | sha256sum | cut -d' ' -f1)" = "$(digest red)" ]
}
