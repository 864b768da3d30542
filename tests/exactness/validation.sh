#!/usr/bin/env bash
# A signal in the middle of a validation: exit code 75 without waiting for its end, and --resume
# repeats it and ends in the same bits.
. "$(dirname "$0")/functions.sh"

train_behind "$work/runs"
# The checkpoint at the end of the epoch is written just before its validation, which takes half a
# second of processor time or more.
while kill -0 $process 2>/dev/null &&
    [[ ! -e $work/runs/exact/checkpoints/step-000000012.safetensors ]]; do
    sleep 0.01
done
until_used $process $(($(used_ms $process) + 100))
kill -USR1 $process
code=0
wait $process || code=$?
cat "$work/log"
[[ $code == 75 ]] || fail "exit code $code instead of 75"
grep -q 'stopped by User defined signal 1 during the validation' "$work/log" ||
    fail "the run did not leave its validation"
! grep validation "$work/runs/exact/metrics.jsonl" || fail "half a validation was logged"
train "$work/runs" --resume
same_bits "$work/runs"
