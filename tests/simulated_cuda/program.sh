#!/usr/bin/env bash
# train, evaluate and heatmap on the simulated device; $MICROMET names the program, $FIXTURE what cases/fixture.sh made.
# Trained twice, the checkpoints are the same; predictions are the CPU's.
set -euo pipefail

work=$(mktemp -d "${TMPDIR:-/tmp}/micromet-simulated-XXXXXX")
trap 'rm -rf "$work"' EXIT
cp -R "$FIXTURE"/{config.yaml,slides.csv,slides,packs} "$work"
cd "$work"

cuda=(compute.backend=cuda compute.precision=fp32)
"$MICROMET" train config.yaml "${cuda[@]}" train.run=one |& tee log
grep -q 'backend cuda' log
"$MICROMET" train config.yaml "${cuda[@]}" train.run=two
cmp {one,two}/small/checkpoints/best.safetensors

"$MICROMET" evaluate one/small --split validation --out on_cuda "${cuda[@]}"
"$MICROMET" evaluate one/small --split validation --out on_cpu compute.backend=cpu
