#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016 # jobs expand their own variables
# The second fence of a cluster whose helper runs at its site: what 5011 shows beside the daemon is
# carried over mutual TLS here.

load lib
load slurm

setup_file() {
    slurm_needed
    command -v slurmdbd mariadbd sacctmgr >/dev/null || skip "slurmdbd is not installed: deploy/install-deps --tests"
    facility_start
    people_start
    TB_DBD=1 SITE_REMOTE=yes site_start geneva 1 --fence
}

cap_is() { [ "$(at geneva sacctmgr -n -P show qos where name=bt_cz_multilingual format=grptres)" = "$1" ]; }
no_difference() { [ "$(as council site diff geneva --json | jq '.items | length')" = 0 ]; }

@test "a helper at the site makes the project an account with a bound" {
    await 120 cap_is gres/gpu=600
    await 120 no_difference
    run -0 as council site show geneva
    [[ "$output" == *"fence         each project"* ]]
    [[ "$output" == *"helper        at the site, connected since"* ]]
}

@test "a job runs under its project's account" {
    runs_under_its_account
}

@test "what was changed by hand is put right from there too" {
    at geneva sacctmgr -i -Q modify qos bt_cz_multilingual set grptres=gres/gpu=4000
    await 120 cap_is_ours
    await 120 no_difference
}
cap_is_ours() { ! cap_is gres/gpu=4000; }
