#!/usr/bin/env bash
# Ten kills at random moments, seven by processor time (a clock would depend on what else the
# machine does) and three while a checkpoint is being written, and as many resumptions end in the
# bits of the run that was never killed.
. "$(dirname "$0")/functions.sh"

RANDOM=20
kills=0
whole_ms=$(tail -n 1 "$REFERENCE/times" | awk -F '[ms ]+' '{ print int(1000 * ($2 + $4)) }')

# until_writing PID: until a checkpoint that is not complete lies in the run's folder.
until_writing() {
    while kill -0 "$1" 2>/dev/null &&
        ! compgen -G "$work/runs/exact/checkpoints/*.partial-*" >/dev/null; do
        sleep 0.01
    done
}

while ((kills < 10)); do
    arguments=(train.resume=auto)
    if ((kills % 2)) && compgen -G "$work/runs/exact/checkpoints/step-*.safetensors" >/dev/null
    then
        arguments=(--resume)
    fi
    train_behind "$work/runs" "${arguments[@]}"
    if ((kills % 3 == 2)); then
        until_writing $process
    else
        until_used $process $((RANDOM * whole_ms / 32768))
    fi
    kill -KILL $process 2>/dev/null || true
    code=0
    wait $process || code=$?
    if ((code == 137)); then
        kills=$((kills + 1))
        echo "kill $kills at:" $(ls "$work/runs/exact/checkpoints" 2>/dev/null)
    elif ((code == 0)); then # before its kill: what it made is compared, and a new run begins
        same_bits "$work/runs"
        rm -r "$work/runs"
        echo "a run has ended"
    else
        cat "$work/log"
        fail "a run ended with code $code"
    fi
done
train "$work/runs" train.resume=auto
same_bits "$work/runs"
