#!/usr/bin/env bash
# ranks.sh torchrun|mpirun [STEPS EVERY "RANKS ..." [KEY=VALUE ...]]: steps of four shards end in the same
# bits whether one rank makes them, two or four; and also if all ranks are killed on the way and other
# numbers of them go on, the last of them to the end. A checkpoint is written every EVERY of the steps.
. "$(dirname "$0")/functions.sh"

launcher=$1 steps=${2:-20} every=${3:-4}
read -ra numbers <<<"${4:-4 1 2 4}"
if [[ $launcher == mpirun ]]; then
    command -v mpirun >/dev/null || { echo "there is no mpirun" >&2; exit 77; }
    mpirun=(mpirun --allow-run-as-root --oversubscribe --mca btl self,vader)
fi
arguments=(train.batch=8 train.shards=4 train.examples_per_epoch=$((4 * steps)) train.checkpoint_steps=$every
    model.dropout=0.3 model.batch_norm_momentum=0.9 "${@:5}")

# start RANKS RUNS_FOLDER ARGUMENTS...: in the background, as $processes, with logs in $work.
start() {
    local ranks=$1 runs=$2 rank port=$((20000 + (RANDOM + $$) % 12000))
    local command=("$MICROMET" train "$config" train.run="$runs" "${arguments[@]}" "${@:3}")
    processes=()
    if [[ $launcher == mpirun ]]; then
        "${mpirun[@]}" -n "$ranks" "${command[@]}" >"$work/log" 2>&1 &
        processes=($!)
        return
    fi
    for ((rank = 0; rank < ranks; rank++)); do
        RANK=$rank WORLD_SIZE=$ranks LOCAL_RANK=$rank LOCAL_WORLD_SIZE=$ranks \
            MASTER_ADDR=127.0.0.1 MASTER_PORT=$port MICROMET_SIMULATED_SEED=$((8 * ranks + rank)) \
            "${command[@]}" >"$work/log.$rank" 2>&1 &
        processes+=($!)
    done
}

# finish: wait for them; all must have ended well, and only the first may have spoken.
finish() {
    local process
    for process in "${processes[@]}"; do
        wait "$process" || { cat "$work"/log*; fail "a rank failed"; }
    done
    [[ -z $(cat "$work"/log.[1-9] 2>/dev/null) ]] || fail "$(cat "$work"/log.[1-9])"
}

same() {
    local step file
    for ((step = every; step <= steps; step += every)); do
        file=$(printf 'exact/checkpoints/step-%09d.safetensors' "$step")
        "$COMPARE" "$work/one/$file" "$1/$file"
    done
    cmp "$work/one/exact/checkpoints/best.safetensors" "$1/exact/checkpoints/best.safetensors"
    diff <(grep validation "$work/one/exact/metrics.jsonl") \
        <(grep validation "$1/exact/metrics.jsonl")
}

arguments+=(train.keep=9)
"$MICROMET" train "$config" train.run="$work/one" "${arguments[@]}" 2>"$work/log"
for ranks in 2 4; do
    start $ranks "$work/$ranks"
    finish
    grep -q "$ranks ranks on 1 host" "$work"/log* || fail "$(cat "$work"/log*)"
    same "$work/$ranks"
done

# Killed behind some checkpoint, and gone on with by another number.
mkdir "$work/killed"
checkpoints() {
    find "$work/killed" -name 'step-*.safetensors' | wc -l
}

for ranks in "${numbers[@]::${#numbers[@]}-1}"; do
    had=$(checkpoints)
    start $ranks "$work/killed" train.resume=auto
    until (($(checkpoints) > had)); do
        kill -0 "${processes[0]}" || { cat "$work"/log*; fail "ended before it was killed"; }
        sleep 0.02
    done
    kill -KILL "${processes[@]}"
    wait "${processes[@]}" 2>/dev/null || true
    sleep 1 # mpirun's ranks find out, and release the lock of the folder
done
start "${numbers[-1]}" "$work/killed" train.resume=auto
finish
same "$work/killed"
