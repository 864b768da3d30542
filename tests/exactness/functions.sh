# What the scripts of exactness share. $MICROMET names the program, $REFERENCE the folder of
# reference.sh, $COMPARE the program compare_checkpoints.
set -euo pipefail

reference=$REFERENCE/runs/exact
config=$REFERENCE/config.yaml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "$1" >&2
    exit 1
}

# train RUNS_FOLDER ARGUMENTS...
train() {
    local runs=$1
    shift
    "$MICROMET" train "$config" train.run="$runs" "$@"
}

# train_behind RUNS_FOLDER ARGUMENTS...: the same in the background, as $process, with its log in $work/log.
train_behind() {
    local runs=$1
    shift
    "$MICROMET" train "$config" train.run="$runs" "$@" >"$work/log" 2>&1 &
    process=$!
}

tick_ms=$((1000 / $(getconf CLK_TCK)))

# used_ms PID: the processor time that it has used.
used_ms() {
    local stat
    read -r -a stat 2>/dev/null <"/proc/$1/stat" && [[ ${stat[2]} != Z ]] &&
        echo $(((stat[13] + stat[14]) * tick_ms))
}

# until_used PID MS: until the process has used so much processor time or is gone.
until_used() {
    local used
    while used=$(used_ms "$1") && ((used < $2)); do sleep 0.01; done
}

# The run in this folder ended in the very bits of the reference, whatever happened on the way.
same_bits() {
    local file
    for file in step-000000024 best; do
        cmp "$1/exact/checkpoints/$file.safetensors" "$reference/checkpoints/$file.safetensors"
    done
    diff <(grep validation "$1/exact/metrics.jsonl") <(grep validation "$reference/metrics.jsonl")
    [[ -z $(find "$1" -name '*.partial*') ]] || fail "unfinished files were left in $1"
}

# The same but for what the stored configuration says.
same_values() {
    local file
    for file in step-000000024 best; do
        "$COMPARE" "$1/exact/checkpoints/$file.safetensors" \
            "$reference/checkpoints/$file.safetensors"
    done
}
