#!/usr/bin/env bash
# Evaluations and heat maps that several ranks share are those of one rank, bit for bit; also if all ranks
# were killed on the way, or one of them was asked to stop, which ends all.
. "$(dirname "$0")/functions.sh"

best=$reference/checkpoints/best.safetensors
cp -R "$REFERENCE/slides" "$work"

# ranks COUNT ARGUMENTS...: the program as so many ranks, in the background, as $processes.
ranks() {
    local count=$1 rank port=$((20000 + (RANDOM + $$) % 12000))
    processes=()
    for ((rank = 0; rank < count; rank++)); do
        RANK=$rank WORLD_SIZE=$count LOCAL_RANK=$rank LOCAL_WORLD_SIZE=$count \
            MASTER_ADDR=127.0.0.1 MASTER_PORT=$port "$MICROMET" "${@:2}" >"$work/out.$rank" \
            2>"$work/log.$rank" &
        processes+=($!)
    done
}

finish() {
    local process
    for process in "${processes[@]}"; do
        wait "$process" || { cat "$work"/log.*; fail "a rank failed"; }
    done
    [[ -z $(cat "$work"/{out,log}.[1-9] 2>/dev/null) ]] || fail "more than one rank speaks"
}

evaluate=(evaluate "$best" --split validation data.manifest="$REFERENCE/slides.csv"
    data.pack="$REFERENCE/packs")
for windows in packs whole-slides; do
    options=()
    [[ $windows == packs ]] || options=(--whole-slides --stride 20)
    "$MICROMET" "${evaluate[@]}" "${options[@]}" --out "$work/$windows-1" >"$work/one"
    ranks 3 "${evaluate[@]}" "${options[@]}" --out "$work/$windows-3"
    finish
    diff <(grep -v written "$work/one") <(grep -v written "$work/out.0")
    diff -r "$work/$windows-1" "$work/$windows-3"
done
[[ $(cut -d, -f5 "$work/packs-1/predictions.csv" | sort -u | wc -l) -gt 20 ]] ||
    fail "the model says the same of all windows"

# until_in_the_middle: of a heat map
until_in_the_middle() {
    until (($(cat "$work"/map-3/*.partial.* 2>/dev/null | wc -c) > 4000)); do
        kill -0 "${processes[0]}" || fail "ended before it was stopped"
        sleep 0.02
    done
}

# stop RANK SIGNAL WHAT: that rank alone gets it; all end as a single process does, and one says why.
stop() {
    local process code
    kill "-$2" "${processes[$1]}"
    for process in "${processes[@]}"; do
        code=0
        wait "$process" || code=$?
        [[ $code == 75 ]] || { cat "$work"/log.*; fail "a rank ended with $code"; }
    done
    [[ $(cat "$work"/log.* | grep '^micromet: ') == "micromet: rank $1 on $(hostname): stopped by $3" ]] ||
        { cat "$work"/log.*; fail "not one line of rank $1"; }
    [[ ! -s $work/out.0 ]] || fail "there are results"
}

ranks 3 "${evaluate[@]}" --whole-slides --stride 5 --out "$work/stopped"
until grep -q '^tumor' "$work/log.0"; do
    kill -0 "${processes[0]}" || fail "ended before it was stopped"
    sleep 0.02
done
stop 2 TERM Terminated

map=(heatmap "$best" "$work/slides/tumor_002.tif" --stride 10)
"$MICROMET" "${map[@]}" --out "$work/map-1" >"$work/one"
ranks 3 "${map[@]}" --out "$work/map-3"
until_in_the_middle
stop 0 USR1 'User defined signal 1'
ranks 3 "${map[@]}" --out "$work/map-3"
until_in_the_middle
kill -KILL "${processes[@]}"
wait "${processes[@]}" 2>/dev/null || true
ranks 3 "${map[@]}" --out "$work/map-3"
finish
diff -r "$work/map-1" "$work/map-3"
