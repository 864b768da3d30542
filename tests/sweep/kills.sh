#!/usr/bin/env bash
# kills.sh KILLS: `sweep run` is killed at random moments, so many times, and run again: a grid, a
# halving sweep, and one to which runs are added halfway end in the bits of the ones that nobody
# disturbed, and that were done before runs were added. $MICROMET names the program, $FIXTURE
# the folder of cases/fixture.sh, $COMPARE the program compare_checkpoints.
. "$(dirname "$0")/functions.sh"

kills_wanted=$1
configuration config 3 8 1
cat >grid.yaml <<'END'
base: config.yaml
grid: {optimizer.learning_rate: [1e-3, 1e-2]}
repeat: {seed: [1, 2]}
END
halving config 5 3 >halving.yaml
cat >grown.yaml <<'END'
base: config.yaml
random: {runs: 1, optimizer.learning_rate: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}}
grid: {optimizer.name: [adam]}
repeat: {seed: [1, 2]}
halving: {min_epochs: 1, max_epochs: 2, factor: 2}
END
sed 's/runs: 1/runs: 2/; s/\[adam\]/[sgd, adam]/' grown.yaml >grown.later
RANDOM=12

run() { # FOLDER
    "$MICROMET" sweep run $kind.yaml --out "$1/$kind" --jobs 2
}

whole() { # FOLDER: from where it is to its end, with the added runs
    run "$1" 2>log || fail "$(cat log)"
    [[ ! -e $kind.later ]] || cp $kind.later $kind.yaml
    run "$1" 2>log || fail "$(cat log)"
}

for kind in grid halving grown; do
    cp $kind.yaml first
    start=$(date +%s%N)
    whole undisturbed
    whole_ms=$((($(date +%s%N) - start) / 1000000))
    cp first $kind.yaml
    kills=0
    while ((kills < kills_wanted)); do
        run disturbed >log 2>&1 &
        process=$!
        wait_ms=$((RANDOM * whole_ms / 32768 / 2))
        sleep $((wait_ms / 1000)).$(printf %03d $((wait_ms % 1000)))
        kill -KILL $process 2>/dev/null || true
        code=0
        wait $process 2>/dev/null || code=$?
        if ((code == 137)); then
            kills=$((kills + 1))
            echo "$kind: kill $kills after $wait_ms ms: $(find disturbed/$kind/state -name '0*.json' 2>/dev/null | wc -l) runs ended"
            if [[ -e $kind.later ]] && ((2 * kills >= kills_wanted)); then cp $kind.later $kind.yaml; fi
        elif ((code == 0)); then # before its kill: what it made is compared, and a new sweep begins
            whole disturbed
            same_sweep undisturbed/$kind disturbed/$kind
            rm -r disturbed/$kind
            cp first $kind.yaml
            echo "$kind: a sweep has ended"
        else
            fail "a sweep ended with code $code: $(cat log)"
        fi
    done
    whole disturbed
    same_sweep undisturbed/$kind disturbed/$kind
done
