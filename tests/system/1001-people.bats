#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016,SC2154 # jobs expand their own variables; bats sets stderr
# Nations, people, projects, clearances and quotas: who may change what, and what is refused.

load lib

setup_file() {
    facility_start
    people_start
    agent_start
}
teardown_file() { facility_end; }

@test "a nation's administrator sees every nation and writes only their own" {
    run -0 as fr-admin nation list -o name
    [[ "$output" == *cz* && "$output" == *fr* ]]
    run -5 as fr-admin project add cz/stolen --title Stolen --tier 1 --until 30d
    run -5 as fr-admin clearance set cz/ana --tier 4 --until 30d
    run -5 as fr-admin nation add de --name Germany
    run -0 as fr-admin quota show
}

@test "a researcher administers nothing" {
    run -5 as ana person add cz/friend --name Friend --roles researcher
    run -5 as ana quota set cz/multilingual --amount 1000h
    run -5 as ana token new cz/ana
}

@test "quota set shows the change, and --dry-run writes nothing" {
    run -8 as cz-admin quota set cz/multilingual --amount 20h --dry-run
    [[ "$output" == *"granted"*"10.00 h"*"20.00 h"*"+10.00 h"* ]]
    [[ "$output" == *"nothing written (--dry-run)"* ]]
    granted() { as cz-admin quota show cz/multilingual --json | jq -r '[.items[] | select(.level == "project")][0].granted_mras'; }
    [ "$(granted)" = 36000000 ]
    run -0 as cz-admin quota set cz/multilingual --amount 10h --dry-run
    run -0 as cz-admin quota set cz/multilingual --amount 20h
    [ "$(granted)" = 72000000 ]
    run -0 as cz-admin quota set CZ/multilingual --amount 10h
    [ "$(granted)" = 36000000 ]
}

@test "a quota cannot exceed what the nation has" {
    run as cz-admin quota set cz/multilingual --amount 1Mh
    [ "$status" -eq 5 ] || [ "$status" -eq 6 ]
    run -2 as cz-admin quota set cz/multilingual --amount 40
    [[ "$output" == *"such as 40h, 120kh"* ]]
}

@test "accounts always balance" {
    as ana -q submit -n 1 --time 10m --hold -- true
    as cz-admin quota show --json |
        jq -e '[.items[] | (.granted_mras | tonumber) - (.free_mras | tonumber) - (.held_mras | tonumber) - (.spent_mras | tonumber)] | all(. == 0)'
}

@test "a job beyond the quota is refused and names it" {
    run -5 as ana submit -n 2 --time 12h -- true
    [[ "$output" == *quota* ]]
    [[ "$output" == *"request "*"exit 5"* ]]
}

@test "a job of a stranger's project is refused" {
    run -5 as louis submit -A cz/multilingual -n 1 --time 1m -- true
}

@test "a clearance that is too low is named with what mends it" {
    run -0 as cz-admin clearance set cz/ana --tier 0 --until 30d
    run -5 as ana submit -n 1 --time 1m --domain bio -- true
    [[ "$output" == *missing* ]]
    [[ "$output" == *person* ]]
    run -5 --separate-stderr as ana submit --json -n 1 --time 1m --domain bio -- true
    jq -e '.missing | length > 0' <<<"$stderr"
    run -0 as cz-admin clearance set cz/ana --tier 1 --until 365d
}

@test "whom to ask for a clearance is said with the command" {
    run -0 as ana clearance request --tier 3
    [[ "$output" == *"beamtime clearance set cz/ana --tier 3"*"cz/admin"* ]]
    run -0 as ana clearance request --institution university --tier 3
    [[ "$output" == *"beamtime institution set cz/university --tier 3"* ]]
    run -0 as ana clearance request --project cz/multilingual --tier 3
    [[ "$output" == *"beamtime project set cz/multilingual --tier 3"* ]]
}

@test "what is not said of a project stays as it was" {
    tiers() { as council project list --json | jq -c '.items[] | select(.project == "multilingual") | [.title, .tier, .until]'; }
    before=$(tiers)
    run -0 as cz-admin project set cz/multilingual --title "Thirty languages"
    [ "$(tiers)" = "$(jq -c '.[0] = "Thirty languages"' <<<"$before")" ]
    run -0 as cz-admin project set cz/multilingual --title "$(jq -r '.[0]' <<<"$before")"
    [ "$(tiers)" = "$before" ]
    run -2 as cz-admin project add cz/endless --title Endless --tier 1
    [[ "$output" == *"a clearance for tier 1 must say until when"*"--until 365d"* ]]
}

@test "a suspended nation submits nothing" {
    run -0 as council nation set cz --state suspended
    run as ana submit -n 1 --time 1m -- true
    [ "$status" -eq 4 ] || [ "$status" -eq 5 ]
    run -0 as council nation set cz --state active
    run -0 as ana submit -n 1 --time 1m --dry-run -- true
}

@test "a revoked credential is worth nothing" {
    as cz-admin -q person add cz/eve --name Eve --institution university --roles researcher
    enrol cz-admin cz/eve eve
    run -0 as eve whoami
    run -0 as cz-admin credential revoke cz/eve
    run -4 as eve whoami
}

@test "a certificate is renewed for its own key, and for no other" {
    cert=$BEAMTIME_CONFIG_DIR/louis/cert.pem
    before=$(openssl x509 -in "$cert" -noout -serial -pubkey)
    run -0 as louis renew
    [[ "$output" == *"your certificate lasts until "*"(profile louis)"* ]]
    after=$(openssl x509 -in "$cert" -noout -serial -pubkey)
    [ "${before%%$'\n'*}" != "${after%%$'\n'*}" ]
    [ "${before#*$'\n'}" = "${after#*$'\n'}" ]
    run -0 as louis whoami
    [[ "$output" == *"certified until "* ]]
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=other \
        -keyout "$BATS_TEST_TMPDIR/other.key" -out "$BATS_TEST_TMPDIR/other.csr" 2>/dev/null
    run -0 asked louis "$(uuid7)" /v1/renew "$(jq -n --rawfile csr "$BATS_TEST_TMPDIR/other.csr" '{csr: $csr}')"
    [ "$(jq -r .code <<<"$output")" = FORBIDDEN ]
    # a person's certificate renews no agent's
    run -0 asked louis "$(uuid7)" /v1/agent/renew "$(jq -n --rawfile csr "$BATS_TEST_TMPDIR/other.csr" '{csr: $csr}')"
    [ "$(jq -r .code <<<"$output")" != null ]
}

@test "bad values are refused before anything is sent or changed" {
    run -2 as cz-admin clearance set cz/ana --tier 1
    run -2 as cz-admin clearance set cz/ana --tier x --until 30d
    run -2 as cz-admin person add 'cz/Not A Name' --name x
    run as cz-admin clearance set cz/nobody-here --tier 1 --until 30d
    [ "$status" -ne 0 ]
}

@test "what was done is in the audit" {
    run -0 as council audit --json
    jq -e '.items | length > 0' <<<"$output"
    run -0 as council audit --subject ana
    [[ "$output" == *" clearance "*"cz/admin"*"ana"*"nation=cz person=ana tier=1 until=2"* ]]
}

# As a client repeats a request whose answer it did not get.
asked() { # PROFILE ID PATH BODY [METHOD]
    curl -sS --cacert "$FACILITY/pki/root.pem" --cert "$BEAMTIME_CONFIG_DIR/$1/cert.pem" \
        --key "$BEAMTIME_CONFIG_DIR/$1/key.pem" -H "Idempotency-Key: $2" -H 'Content-Type: application/json' \
        -X "${5:-POST}" -d "$4" "$URL$3"
}
uuid7() {
    local ms tail
    ms=$(printf '%012x' "$(date +%s%3N)")
    tail=$(openssl rand -hex 9)
    echo "${ms:0:8}-${ms:8}-7${tail:0:3}-8${tail:3:3}-${tail:6}"
}

@test "a request that is repeated is done once, also by the next daemon" {
    first=$(uuid7)
    token=$(uuid7)
    more='{"nation":"cz","project":"multilingual","granted_mras":"43200000"}'
    body='{"kind":"person","nation":"cz","subject":"ana"}'
    granted() { as cz-admin quota show cz/multilingual --json | jq -r '[.items[] | select(.level == "project")][0].granted_mras'; }
    run -0 asked cz-admin "$first" /v1/quota "$more" PUT
    answer=$output
    secret=$(asked cz-admin "$token" /v1/tokens "$body")
    [[ "$secret" == *token* ]]
    [ "$(granted)" = 43200000 ]
    run -0 as cz-admin quota set cz/multilingual --amount 10h
    daemon_kill
    daemon_start
    run -0 asked cz-admin "$first" /v1/quota "$more" PUT
    [ "$output" = "$answer" ]
    [ "$(granted)" = 36000000 ]
    run -0 asked cz-admin "$first" /v1/quota "${more/432/431}" PUT
    [[ "$output" == *"used for another request"* ]]
    [ "$(asked cz-admin "$token" /v1/tokens "$body")" = "$secret" ]
}
