#!/usr/bin/env bash
# On a machine whose clock is set forth and back all the time, a training goes on in the bits of the reference, its
# folder's lock holds, and ranks wait for one another no longer and no shorter than elsewhere: moved_clock.sh LIBRARY,
# which is moved_clock.c; $WORLD_RANK names the program world/rank.c.
. "$(dirname "$0")/functions.sh"

export LD_PRELOAD=$1 ASAN_OPTIONS=verify_asan_link_order=0:${ASAN_OPTIONS-}
(($(env -u LD_PRELOAD date +%s) - $(date +%s) > 90000)) || fail "the clock does not move"

train_behind "$work/runs"
until grep -q 'step 10/12' "$work/log"; do
    kill -0 $process || fail "$(cat "$work/log")"
    sleep 0.02
done
kill -STOP $process
code=0
train "$work/runs" --resume 2>"$work/second" || code=$?
[[ $code == 1 ]] && grep -q 'another training works in this folder' "$work/second" || fail "$(cat "$work/second")"
kill -KILL $process
wait $process 2>/dev/null || true
train "$work/runs" --resume
same_bits "$work/runs"

# The rank that is stopped is lost after 2 s, and the others have ended soon after.
export MICROMET_WORLD_SILENCE_S=2 WORLD_SIZE=3 MASTER_ADDR=127.0.0.1 MASTER_PORT=$((20000 + (RANDOM + $$) % 12000))
processes=()
start=$SECONDS
for rank in 2 1 0; do
    RANK=$rank "$WORLD_RANK" stop 2 >"$work/rank.$rank" 2>&1 &
    processes+=($!)
done
wait "${processes[@]:1}" && fail "the others did not find out"
kill -KILL "${processes[0]}"
grep -hq '^micromet: rank 2 on .*: not heard of for 2 s: ' "$work"/rank.[01] || fail "$(cat "$work"/rank.*)"
((SECONDS - start < 20)) || fail "it took $((SECONDS - start)) s"
