#!/usr/bin/env bash
# train, evaluate and heatmap on the simulated device. $MICROMET names the program, $FIXTURE the
# output of cases/fixture.sh. Training twice, with the device's work in different orders, must give
# the same bits, and predictions those of the CPU.
set -euo pipefail

work=$(mktemp -d "${TMPDIR:-/tmp}/micromet-simulated-XXXXXX")
trap 'rm -rf "$work"' EXIT
cp -R "$FIXTURE"/{config.yaml,slides.csv,slides,packs} "$work"
cd "$work"

cuda=(compute.backend=cuda compute.precision=fp32)
for run in 1 2; do
    MICROMET_SIMULATED_SEED=$run "$MICROMET" train config.yaml "${cuda[@]}" train.run=run$run |& tee log
    grep -q 'backend cuda' log
done
best=small/checkpoints/best.safetensors
cmp run{1,2}/$best

"$MICROMET" evaluate run1/$best --split validation --out cuda
"$MICROMET" evaluate run1/$best --split validation --out cpu compute.backend=cpu
paste -d, cuda/predictions.csv cpu/predictions.csv |
    awk -F, 'NR > 1 && ($5 - $10) ^ 2 > 1e-8 { print "cuda, cpu:", $0; bad = 1 } END { exit bad || NR < 2 }'

# A model trained on a GPU can be used without one, unless a GPU is asked for.
MICROMET_CUDA_LIBRARY=$work/none "$MICROMET" evaluate run1/$best --split validation --out none |& tee log
grep -q 'backend cpu.* · CUDA not used: ' log
cmp none/predictions.csv cpu/predictions.csv
! MICROMET_CUDA_LIBRARY=$work/none "$MICROMET" evaluate run1/$best --split validation --out none \
    compute.backend=cuda || exit 1

"$MICROMET" heatmap run1/$best slides/normal_001.tif --stride 150 --threads 1 --out maps |& tee log
grep -q 'backend cuda' log
test -s maps/normal_001.heatmap.tif
