#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016 # jobs expand their own variables
# A second fence: slurmdbd knows each project as an account with a bound, and keeps to it.

load lib
load slurm

setup_file() {
    slurm_needed
    command -v slurmdbd mariadbd sacctmgr >/dev/null || skip "slurmdbd is not installed: deploy/install-deps --tests"
    facility_start
    people_start
    TB_DBD=1 site_start geneva 2 --fence
}

cap() { at geneva sacctmgr -n -P show qos where name="$1" format=grptres; }
cap_is() { [ "$(cap bt_cz_multilingual)" = "gres/gpu=$1" ]; }
accounts() { at geneva sacctmgr -n -P show assoc format=account,user,qos,defaultqos | sort; }
no_difference() { [ "$(as council site diff geneva --json | jq '.items | length')" = 0 ]; }

@test "a project with a grant is an account with its own QOS and a bound" {
    await 120 cap_is 600 # 10 accelerator-hours are 600 for a minute
    await 120 no_difference
    run -0 accounts
    [[ "$output" == *"bt_cz_multilingual||bt_cz_multilingual|bt_cz_multilingual"* ]]
    [[ "$output" == *"bt_cz_multilingual|$(site_user)|bt_cz_multilingual|bt_cz_multilingual"* ]]
    run -0 as council site show geneva
    [[ "$output" == *"fence         each project"* ]]
}

@test "a job runs under its project's account, and Slurm takes no other" {
    runs_under_its_account
    run at geneva sbatch --account bt_fr_moon --wrap true
    [ "$status" -ne 0 ]
}

@test "the bound follows the grant" {
    as cz-admin -q quota set cz/multilingual --amount 1h --until 365d
    await 120 cap_within_an_hour
}
cap_within_an_hour() { [[ "$(cap bt_cz_multilingual)" =~ ^gres/gpu=[1-6]?[0-9]$ ]]; } # some of it is spent

@test "what was changed by hand is put right, and what is not ours is left alone" {
    local before
    before=$(cap bt_cz_multilingual)
    at geneva sacctmgr -i -Q add account others
    at geneva sacctmgr -i -Q add qos others set grptres=gres/gpu=1
    at geneva sacctmgr -i -Q modify qos bt_cz_multilingual set grptres=gres/gpu=4000
    at geneva sacctmgr -i -Q modify account bt_cz_multilingual set qos=normal,bt_cz_multilingual defaultqos=normal
    await 120 cap_is "${before#*=}"
    await 120 own_qos
    [ "$(cap others)" = "gres/gpu=1" ]
    [[ "$(accounts)" == *"others||"* ]]
    await 120 no_difference
}
own_qos() { [[ "$(accounts)" == *"bt_cz_multilingual||"*"|bt_cz_multilingual"$'\n'* ]]; }

@test "somebody who is no member is named with the fix" {
    at geneva sacctmgr -i -Q add user daemon account=bt_cz_multilingual
    await 120 stranger
    run -0 as council site diff geneva
    [[ "$output" == *"sacctmgr remove user daemon account=bt_cz_multilingual"* ]]
    at geneva sacctmgr -i -Q remove user daemon account=bt_cz_multilingual
    await 120 no_difference
}
stranger() { as council site diff geneva | grep -q "no member of the project"; }

@test "without slurmdbd that is said, and known projects go on" {
    local job
    end_process "$(cat "$FACILITY/sites/geneva/slurm/run/slurmdbd.pid")"
    await 120 silent
    run -0 as council site show geneva
    [[ "$output" == *"reachable     yes"* ]]
    printf '#!/bin/sh\n:\n' >"$BATS_TEST_TMPDIR/job.sh"
    job=$(as ana -q submit --class h200 --time 1m --grace 1s -n 1 "$BATS_TEST_TMPDIR/job.sh")
    run -0 as ana job wait "$job"
}
silent() { as council site diff geneva | grep -q "slurmdbd.*projects are accounts there"; }
