#!/usr/bin/env bash
# kills.sh KILLS: `sweep run` is killed at random moments, so many times, and run again: a grid and a
# halving sweep end in the bits of the ones that nobody disturbed. $MICROMET names the program, $FIXTURE
# the folder of cases/fixture.sh, $COMPARE the program compare_checkpoints.
set -euo pipefail

kills_wanted=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R "$FIXTURE"/{config.yaml,slides.csv,slides,packs} "$work"
cd "$work"
sed -i 's/epochs: 1, examples_per_epoch: 4, checkpoint_steps: 1/epochs: 3, examples_per_epoch: 8, checkpoint_steps: 1/' config.yaml
cat >grid.yaml <<'END'
base: config.yaml
grid: {optimizer.learning_rate: [1e-3, 1e-2]}
repeat: {seed: [1, 2]}
END
cat >halving.yaml <<'END'
base: config.yaml
random: {runs: 5, optimizer.learning_rate: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}}
halving: {min_epochs: 1, max_epochs: 3, factor: 2}
END
RANDOM=12

fail() {
    echo "$1" >&2
    exit 1
}

# same KIND: the disturbed sweep ended as the other did.
same() {
    local file run
    (cd "undisturbed/$1" && find state rungs -name '*.json' ! -name frozen.json | sort) >files
    [[ $(wc -l <files) -ge 4 ]] || fail "the sweep has written no outcomes"
    (cd "disturbed/$1" && find state rungs -name '*.json' ! -name frozen.json | sort) | diff files -
    while read -r file; do
        cmp "undisturbed/$1/$file" "disturbed/$1/$file"
    done <files
    for run in "undisturbed/$1"/runs/*; do
        for file in "$run"/checkpoints/*.safetensors; do
            "$COMPARE" "$file" "disturbed/${file#undisturbed/}" || fail "$file: other values"
        done
        diff <(grep validation "$run/metrics.jsonl") \
            <(grep validation "disturbed/${run#undisturbed/}/metrics.jsonl")
    done
    [[ -z $(find "disturbed/$1" -name '*.partial*') ]] || fail "unfinished files were left"
}

for kind in grid halving; do
    start=$(date +%s%N)
    "$MICROMET" sweep run $kind.yaml --out undisturbed/$kind --jobs 2 2>log || fail "$(cat log)"
    whole_ms=$((($(date +%s%N) - start) / 1000000))
    kills=0
    while ((kills < kills_wanted)); do
        "$MICROMET" sweep run $kind.yaml --out disturbed/$kind --jobs 2 >log 2>&1 &
        process=$!
        wait_ms=$((RANDOM * whole_ms / 32768 / 2))
        sleep $((wait_ms / 1000)).$(printf %03d $((wait_ms % 1000)))
        kill -KILL $process 2>/dev/null || true
        code=0
        wait $process 2>/dev/null || code=$?
        if ((code == 137)); then
            kills=$((kills + 1))
            echo "$kind: kill $kills after $wait_ms ms: $(find disturbed/$kind/state -name '0*.json' 2>/dev/null | wc -l) runs ended"
        elif ((code == 0)); then # before its kill: what it made is compared, and a new sweep begins
            same $kind
            rm -r disturbed/$kind
            echo "$kind: a sweep has ended"
        else
            fail "a sweep ended with code $code: $(cat log)"
        fi
    done
    "$MICROMET" sweep run $kind.yaml --out disturbed/$kind --jobs 2 2>log || fail "$(cat log)"
    same $kind
done
