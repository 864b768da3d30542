# What scripts on sweeps share. $COMPARE is the program compare_checkpoints.

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
