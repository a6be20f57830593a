#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016,SC2154 # jobs expand their own variables; bats sets stderr
# What the command line says without any facility.

load lib

setup_file() {
    export BEAMTIME_CONFIG_DIR=$BATS_FILE_TMPDIR/config
    unset BEAMTIME_PROFILE BEAMTIME_PROJECT
}

@test "help names every command and every exit status" {
    run -0 "$BEAMTIME" --help
    for word in enrol submit run queue 'job show' explain 'quota set' 'ledger verify' completion; do
        [[ "$output" == *"$word"* ]]
    done
    [[ "$output" == *"5 denied by policy"* ]]
    run -0 "$BEAMTIME"
    [[ "$output" == *"usage: beamtime COMMAND"* ]]
    run -0 "$BEAMTIME" help job show
    [[ "$output" == *"usage: beamtime job show JOB"* ]]
    run -0 "$BEAMTIME" job --help
    [[ "$output" == *"job cancel JOB"* ]]
}

@test "a wrong word is answered with the nearest one and status 2" {
    run -2 "$BEAMTIME" sumbit
    [[ "$output" == *"'submit' is the nearest"* ]]
    run -2 "$BEAMTIME" job shwo 1
    [[ "$output" == *"'job show' is the nearest"* ]]
    run -2 "$BEAMTIME" submit --acclerators 2
    [[ "$output" == *"--accelerators is the nearest"* ]]
    run -2 "$BEAMTIME" job show
    [[ "$output" == *"wants JOB"* ]]
    run -2 "$BEAMTIME" queue -o yaml
    [[ "$output" == *"not table, wide, json, csv or name"* ]]
}

@test "who is not enrolled is told how, with status 4" {
    run -4 "$BEAMTIME" whoami
    [[ "$output" == *"beamtime enrol --url"* ]]
    run -4 --separate-stderr "$BEAMTIME" whoami --json
    [ "$(jq -r .code <<<"$stderr")" = UNAUTHENTICATED ]
    [ "$(jq -r .exit <<<"$stderr")" = 4 ]
    [ -z "$output" ]
}

@test "a facility that is not there is status 9" {
    mkdir -p "$BEAMTIME_CONFIG_DIR/lost"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -days 2 \
        -keyout "$BEAMTIME_CONFIG_DIR/lost/key.pem" -out "$BEAMTIME_CONFIG_DIR/lost/cert.pem" 2>/dev/null
    cp "$BEAMTIME_CONFIG_DIR/lost/cert.pem" "$BEAMTIME_CONFIG_DIR/lost/ca.pem"
    chmod 600 "$BEAMTIME_CONFIG_DIR/lost/key.pem"
    echo 'url = https://127.0.0.1:1' >"$BEAMTIME_CONFIG_DIR/lost/facility.conf"
    run -9 "$BEAMTIME" --profile lost whoami
    run -0 "$BEAMTIME" profile list -o name
    [ "$output" = lost ]
}

@test "submit --print writes the document of a script with both kinds of lines" {
    cat >"$BATS_TEST_TMPDIR/train.sh" <<'END'
#!/bin/bash
#SBATCH --job-name=lines --nodes=2 --gres=gpu:h200:4 --mem=4G
#BEAM --time=1h30m --domain=general
srun true
END
    run -0 --separate-stderr "$BEAMTIME" submit --print -A cz/m --signal USR1@120 "$BATS_TEST_TMPDIR/train.sh"
    [ "$(jq -r '.name, .project, .kind, .accelerators.count, .accelerators.class, .walltime_s, .grace_s' \
        <<<"$output" | xargs)" = "lines cz/m script 8 h200 5400 120" ]
    [[ "$stderr" == *"line 2: --mem changes nothing"* ]]
    run -0 --separate-stderr "$BEAMTIME" submit --print -- echo 'two words'
    [[ "$stderr" == *"'project' stands for your project"* ]]
    [ "$(jq -r '.code.argv[1]' <<<"$output")" = "two words" ]
    run -0 --separate-stderr bash -c "echo 'echo hi' | sed '1i #!/bin/sh' | '$BEAMTIME' submit --print"
    jq -r .code.script <<<"$output" | grep -qx 'echo hi'
}

@test "what cannot be submitted is refused with a sentence" {
    printf '#!/bin/sh\n#SBATCH --nodelist=n1\n' >"$BATS_TEST_TMPDIR/list.sh"
    run -2 "$BEAMTIME" submit --print "$BATS_TEST_TMPDIR/list.sh"
    [[ "$output" == *"line 2: --nodelist is not possible here: the facility chooses the nodes"* ]]
    echo 'echo hi' >"$BATS_TEST_TMPDIR/plain.sh"
    run -2 "$BEAMTIME" submit --print "$BATS_TEST_TMPDIR/plain.sh"
    [[ "$output" == *"does not begin with #!"* ]]
    run -2 "$BEAMTIME" submit --print --export ALL -- true
    [[ "$output" == *"secrets too"* ]]
    run -3 "$BEAMTIME" submit --print "$BATS_TEST_TMPDIR/absent.sh"
    run -2 "$BEAMTIME" submit --print --time soon -- true
    run -2 "$BEAMTIME" run
    [[ "$output" == *"run wants -- and a command"* ]]
}

@test "completion is accepted by its shell" {
    run -0 "$BEAMTIME" completion bash
    bash -n <<<"$output"
    [ "$(bash -c "$output"'; COMP_WORDS=(beamtime job s); COMP_CWORD=2; _beamtime; echo ${COMPREPLY[*]}')" = show ]
    [ "$(bash -c "$output"'; COMP_WORDS=(beamtime submit --le); COMP_CWORD=2; _beamtime; echo ${COMPREPLY[*]}')" = --level ]
    [ "$(bash -c "$output"'; COMP_WORDS=(beamtime submit --level p); COMP_CWORD=3; _beamtime; echo ${COMPREPLY[*]}')" = pod ]
    if command -v zsh; then
        "$BEAMTIME" completion zsh | zsh -n
    fi
    run -0 "$BEAMTIME" completion man
    [[ "$output" == ".TH beamtime 1"* ]]
}

@test "version and a broken pipe are quiet" {
    run -0 "$BEAMTIME" version --json
    [ "$(jq -r .program <<<"$output")" = beamtime ]
    run -141 bash -c "exec 3> >(true); wait \$!; exec '$BEAMTIME' --help >&3" # of SIGPIPE, as git and cat
    [ -z "$output" ]
}

@test "a full disk is no success" {
    run -1 --separate-stderr bash -c "'$BEAMTIME' --help >/dev/full"
    [[ "$stderr" == *'could not be written'* ]]
}

@test "the example settings are what the programs print" {
    [ -x "$BUILD/daemon/beamtimed" ] || skip "beamtimed is not built"
    diff <("$BUILD/daemon/beamtimed" --print-config) <(tail -n +2 "$SOURCE/deploy/beamtimed.conf")
    diff <("$BUILD/agent/beamtime-agent" --print-config) <(tail -n +2 "$SOURCE/deploy/agent.conf")
    diff <("$BUILD/daemon/clusters/relay/beamtime-relay" --print-config) <(tail -n +2 "$SOURCE/deploy/relay.conf")
}

@test "every next step that a program names is a command" {
    # "beamtime NOUN [VERB]" in the texts of all sources.
    grep -rhoE '"[^"]*beamtime [a-z]+( [a-z]+)?' "$SOURCE"/{lib,daemon,policy,agent,cli} --include='*.c' \
        --include='*.lua' | grep -oE 'beamtime [a-z]+( [a-z]+)?' |
        sed 's/^beamtime //' | sort -u >"$BATS_TEST_TMPDIR/steps"
    "$BEAMTIME" --help | sed -n 's/^  \([a-z]*\( [a-z]*\)\{0,1\}\).*/\1/p' >"$BATS_TEST_TMPDIR/commands"
    while read -r noun verb; do
        case $noun in schema | beamtime | result) continue ;; esac
        grep -qE "^$noun( |\$)" "$BATS_TEST_TMPDIR/commands" || { echo "no command: $noun $verb"; return 1; }
    done <"$BATS_TEST_TMPDIR/steps"
}
