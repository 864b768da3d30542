#!/usr/bin/env bash
# A run that stops behind an epoch and goes on later ends in the bits of the one that did not stop, its
# schedule being that of all epochs; and asked for the same epoch again, it does nothing.
. "$(dirname "$0")/functions.sh"

train "$work/runs" --until-epoch 1
[[ -e $work/runs/exact/checkpoints/step-000000012.safetensors ]] || fail "no checkpoint of epoch 1"
[[ ! -e $work/runs/exact/checkpoints/step-000000013.safetensors ]] || fail "it went on"
train "$work/runs" --until-epoch 1 --resume 2>"$work/log"
grep -qF 'nothing to train: 1 epochs are done' "$work/log" || fail "$(cat "$work/log")"
train "$work/runs" --resume
same_bits "$work/runs"
