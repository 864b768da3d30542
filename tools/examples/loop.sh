#!/usr/bin/env bash
# usage: loop.sh CONFIG RATE...
#
# A search in plain shell: trains with each learning rate, prints "AUC RATE" a line, the best last. Run again, it goes on
# where it was; a training that fails ends it.
set -euo pipefail

micromet=${MICROMET:-micromet}
config=$1
shift
results=$(mktemp)
trap 'rm -f "$results"' EXIT

for rate in "$@"; do
    auc=$("$micromet" train "$config" optimizer.learning_rate="$rate" name="loop-$rate" train.resume=auto \
        --print-metric validation.auc)
    echo "$auc $rate" >>"$results"
done
sort -g "$results"
