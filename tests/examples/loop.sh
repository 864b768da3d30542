#!/usr/bin/env bash
# The search in plain shell of tools/examples: its figures are those of the runs, the best comes last, run again it trains
# nothing anew, and a failing training fails it.
set -euo pipefail

: "${MICROMET:?set MICROMET to the program}" "${FIXTURE:?set FIXTURE to the folder of cases/fixture.sh}"
export MICROMET
source=$(realpath "$(dirname "$0")/../..")
work=$(mktemp -d "${TMPDIR:-/tmp}/micromet-loop-XXXXXX")
trap 'rm -rf "$work"' EXIT
cp -R "$FIXTURE"/{config.yaml,slides.csv,slides,packs} "$work"
cd "$work"

rates=(1e-3 3e-1 1e-2)
"$source/tools/examples/loop.sh" config.yaml "${rates[@]}" >first 2>log
for rate in "${rates[@]}"; do # the only validation's
    sed -n 's/.*"auc":\([0-9.]*\).*/\1 '"$rate/p" "runs/loop-$rate/metrics.jsonl"
done | sort -g >expected
diff expected first
[[ $(wc -l <first) == 3 ]]

"$source/tools/examples/loop.sh" config.yaml "${rates[@]}" >second 2>log
diff first second
[[ $(grep -c 'nothing to train' log) == 3 ]]

if "$source/tools/examples/loop.sh" config.yaml 1e-3 nonsense 2>log; then
    echo "a training failed, and nobody was told"
    exit 1
fi
grep -q 'optimizer.learning_rate' log
