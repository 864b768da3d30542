#!/usr/bin/env bash
# Windows by µm/px: packs and slides, read by one reader or by eight, teach the same bits; and the model says the same of a
# window out of a pack and out of the slide, whose strips a heat map's readers share.
. "$(dirname "$0")/functions.sh"

packs=$work/packs
scale=(data.levels=[] 'data.um_per_px=[0.7]')
few=(train.epochs=1 train.examples_per_epoch=8 data.pack="$packs")
"$MICROMET" prepare "$config" "${scale[@]}" data.pack="$packs"
train "$work/runs" "${scale[@]}" "${few[@]}"
model=$work/runs/exact/checkpoints/best.safetensors
for threads in 1 8; do
    train "$work/$threads" "${scale[@]}" "${few[@]}" data.source=slides data.reader_threads=$threads
    "$COMPARE" "$work/$threads/exact/checkpoints/best.safetensors" "$model"
done

# windows NAME ARGUMENTS...: x, y and probability of each window of the validation slide.
windows() {
    local name=$1
    shift
    "$MICROMET" evaluate "$model" --split validation --out "$work/$name" "$@"
    cut -d, -f2,3,5 "$work/$name/predictions.csv" | sort >"$work/$name.csv"
}

windows packed
windows whole --whole-slides --threads 3
shared=$(comm -12 "$work/packed.csv" "$work/whole.csv" | wc -l)
[[ $shared == $(wc -l <"$work/packed.csv") ]] || fail "$shared windows are the same in the pack and the slide"
