#!/usr/bin/env bash
# usage: check.sh SOURCE
#
# What of tools/container can be checked without building an image: shell scripts as the Debian that they run in reads them,
# files that the Dockerfile copies, and how exit statuses reach Kubernetes. hadolint, shellcheck and kubernetes-validate have
# their say where they are installed.
set -euo pipefail

cd "$1/tools/container"
failed=false
complain() {
    echo "$*"
    failed=true
}

scripts=(install-cuda prepare build install)
for script in "${scripts[@]}"; do
    [[ -x $script ]] || complain "$script: cannot be executed"
    dash -n "$script" || complain "$script: is no shell script"
done
while read -r _ first rest; do
    [[ $first == --from=* ]] && continue
    for file in $first ${rest% *}; do
        [[ -e ../../$file ]] || complain "Dockerfile: copies $file, which is not there"
    done
done < <(grep '^COPY' Dockerfile)
for script in build install; do
    grep -q "tools/container/$script\|share/container/$script" Dockerfile micromet.def || complain "$script: nobody runs it"
done

# The shell of kubernetes-training.yaml makes 175 of 75, also after a signal, and leaves other statuses.
work=$(mktemp -d "${TMPDIR:-/tmp}/micromet-container-XXXXXX")
trap 'rm -rf "$work"' EXIT
sed -n '/^                - |$/,/^                  exit/p' kubernetes-training.yaml | sed 1d >"$work/command"
printf '#!/bin/sh\necho "$@" >>%s/calls\nexit "$STATUS"\n' "$work" >"$work/micromet"
chmod +x "$work/micromet"
for pair in 0:0 1:1 2:2 75:175 137:137; do
    code=0
    PATH=$work:$PATH STATUS=${pair%:*} dash "$work/command" || code=$?
    [[ $code == "${pair#*:}" ]] || complain "exit status ${pair%:*} becomes $code instead of ${pair#*:}"
done
grep -q '^train .* train.resume=auto' "$work/calls" || complain "it does not train"
printf '#!/bin/sh\ntrap "exit 75" TERM\n: >%s/began\nwhile :; do sleep 0.05; done\n' "$work" >"$work/micromet"
code=0
PATH=$work:$PATH dash "$work/command" &
until [[ -e $work/began ]]; do sleep 0.02; done
kill -TERM $!
wait $! || code=$?
[[ $code == 175 ]] || complain "stopped, it ends in $code"

lint() { # PROGRAM ARGUMENT...
    if command -v "$1" >/dev/null; then "$@" || complain "$1 complains"; else echo "without $1"; fi
}
lint shellcheck --shell=sh "${scripts[@]}"
lint hadolint Dockerfile
lint kubernetes-validate --strict kubernetes-sweep.yaml
python3 -c 'import yaml' 2>/dev/null && for file in *.yaml; do
    python3 -c 'import sys, yaml; yaml.safe_load(open(sys.argv[1]))' "$file" || complain "$file: is no YAML"
done

! $failed
