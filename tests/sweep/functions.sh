# What scripts on sweeps share: a folder of their own with the slides of $FIXTURE, which cases/fixture.sh made. $COMPARE
# is the program compare_checkpoints.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R "$FIXTURE"/{slides.csv,slides,packs} "$work"
cd "$work"

# configuration NAME EPOCHS EXAMPLES CHECKPOINT_STEPS: 0 examples are all windows, 41 steps.
configuration() {
    sed "s/epochs: 1, examples_per_epoch: 4, checkpoint_steps: 1/epochs: $2, examples_per_epoch: $3, checkpoint_steps: $4/" \
        "$FIXTURE/config.yaml" >"$1.yaml"
}

# halving BASE RUNS EPOCHS: a sweep whose better half goes on behind the first epoch, and so on.
halving() {
    cat <<END
base: $1.yaml
random: {runs: $2, optimizer.learning_rate: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}}
halving: {min_epochs: 1, max_epochs: $3, factor: 2}
END
}

fail() {
    echo "$1" >&2
    exit 1
}

# The outcomes of the runs that did not fail, the decisions, and the list of runs.
results_of() { # FOLDER
    (
        cd "$1"
        grep -L '"failed"' state/0*.json || true
        find rungs -name '*.json' | sort
        echo plan.csv
    )
}

# same_sweep A B: both have ended in the same results and bits, of at least four runs.
same_sweep() {
    local file run
    results_of "$1" >results
    (($(wc -l <results) > 4)) || fail "the sweep has written no outcomes"
    results_of "$2" | diff results -
    while read -r file; do cmp "$1/$file" "$2/$file"; done <results
    for run in "$1"/runs/*/; do
        for file in "$run"checkpoints/*.safetensors; do
            "$COMPARE" "$file" "$2${file#"$1"}" || fail "$file: other values"
        done
        diff <(grep validation "$run/metrics.jsonl") <(grep validation "$2${run#"$1"}/metrics.jsonl")
    done
    [[ -z $(find "$2" -name '*.partial*') ]] || fail "unfinished files were left"
}
