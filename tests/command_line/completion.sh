#!/usr/bin/env bash
# bash completes commands, options, values and keys of the configuration; zsh can read its script.
# $MICROMET is the program.
set -euo pipefail
export LC_ALL=C

: "${MICROMET:?set MICROMET to the program}"
MICROMET=$(realpath "$MICROMET")
record=$(dirname "$(realpath "$0")")/options
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p 'maps of mine' models
touch config.yaml models/best.safetensors
failed=false

set +u # as where a user sources it
source <("$MICROMET" completion bash)
complete -p micromet >/dev/null

# What is offered for the last of the words, one a line, sorted.
offered() {
    COMP_WORDS=(micromet "$@")
    COMP_CWORD=$#
    _micromet
    ((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}" | sort
}

# expect WANTED WORDS...: WANTED is a list with commas.
expect() {
    local wanted=$1 got
    shift
    got=$(offered "$@" | paste -sd,)
    [[ $got == "$wanted" ]] && return
    echo "micromet $*: offered '$got' instead of '$wanted'"
    failed=true
}

expect train tra
expect --help,--version -
expect "--help,--version,$("$MICROMET" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | sort | paste -sd,)" ''
expect bash,zsh completion ''

# operands: a file first, keys behind it
expect config.yaml train con
expect 'maps of mine,models' train m
expect models/best.safetensors train models/
expect data.window= train config.yaml data.win
expect optimizer.momentum= train --resume config.yaml optimizer.mom
expect 'config.yaml,maps of mine,models' heatmap models/best.safetensors ''
expect model.head= config model.h
expect config.yaml config conf
expect 'maps of mine' synth map

# values of keys, where = is a word of its own and where it is not
expect auto,cpu,cuda train config.yaml compute.backend = ''
expect auto,cpu,cuda train config.yaml compute.backend =
expect cpu,cuda train config.yaml compute.backend = c
expect compute.backend=cpu,compute.backend=cuda train config.yaml compute.backend=c
expect false,true train config.yaml augment.flip = ''
expect config.yaml train config.yaml data.manifest = conf
expect random train config.yaml model.weights = ra
expect '' train config.yaml train.batch = ''

# options and their values
expect --dry-run train --dry
expect onnx,safetensors,triton,wsinfer export x --format ''
expect wsinfer export x --format w
expect wsinfer export x --format = w
expect 'maps of mine' heatmap x --out map
expect models/best.safetensors import x -o models/
expect 1,4,8 predict x --orientations ''
expect '' predict x --batch ''
expect test evaluate x --split te

while read -r command option; do
    [[ $option == --* ]] || continue
    offered "$command" "$option" | grep -x -e "$option" >/dev/null && continue
    echo "micromet $command: $option is not offered"
    failed=true
done <"$record"

"$MICROMET" completion zsh >_micromet
[[ $(head -n 1 _micromet) == '#compdef micromet' ]]
while read -r command option; do
    sed -n "/^    $command)/,/;;/p" _micromet | grep -E -- "'(\(.*\))?${option}[=[]" >/dev/null && continue
    echo "zsh: $command lacks $option"
    failed=true
done <"$record"
if command -v zsh >/dev/null; then zsh -n _micromet; fi
! $failed
