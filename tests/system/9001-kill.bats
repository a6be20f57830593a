#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2154 # bats sets output
# Whatever is killed −9 under load: what was acknowledged holds (tests/soak/kill.c).
# serial

load lib

@test "ten kills under load lose nothing, do nothing twice and leave a ledger that verifies" {
    [ -x "$BUILD/tests/soak/bt-kill" ] || skip "bt-kill is not built"
    run -0 "$BUILD/tests/soak/bt-kill" --rounds 10 --seed 20261
    result=$(grep '^{"soak":"kill"' <<<"$output")
    [ "$(jq .violations <<<"$result")" = 0 ]
    [ "$(jq .lost <<<"$result")" = 0 ]
    [ "$(jq .acked <<<"$result")" -gt 0 ]
    [ "$(jq '[.kills[]] | add' <<<"$result")" = 10 ]
    [ "$(jq '[.kills[] | select(. == 0)] | length' <<<"$result")" = 0 ]
}
