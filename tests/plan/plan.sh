#!/bin/sh
# `micromet plan` for a GPU that is not here, once with an empty cache and once with its plans: every convolution has a plan,
# the second time the same one from the file; a damaged file is noted, not trusted.
#   plan.sh FOLDER GPU PRECISION       (MICROMET and SOURCE in the environment)
set -eu
folder=$1 gpu=$2 precision=$3
rm -rf "$folder"
mkdir -p "$folder"

plan() {
    "$MICROMET" plan "$SOURCE/configs/seed.yaml" --gpu "$gpu" --json \
        compute.precision="$precision" compute.plan_cache="$folder/cache" >"$1" 2>"$1.log" || {
        cat "$1.log" >&2
        exit 1
    }
}
figure() { sed -n 's/.*"what":"plan".*"'"$2"'":\([0-9]*\).*/\1/p' "$1"; }
expect() {
    [ "$2" "$3" "$4" ] || {
        echo "$1: $2 is not $3 $4" >&2
        exit 1
    }
}
# What was chosen, without what differs between a first and a second start.
choices() { grep '"what":"convolution"' "$1" | sed 's/"reused":[a-z]*,//'; }

plan "$folder/first"
count=$(figure "$folder/first" convolutions)
expect "convolutions of two towers, training and inference" "$count" -gt 376
expect "rows" "$(grep -c '"what":"convolution"' "$folder/first")" -eq "$count"
expect "reused at first" "$(figure "$folder/first" reused)" -eq 0
expect "fused" "$(figure "$folder/first" fused)" -eq "$(figure "$folder/first" epilogues)"

plan "$folder/second"
expect "reused at the second start" "$(figure "$folder/second" reused)" -eq "$count"
choices "$folder/first" >"$folder/first.choices"
choices "$folder/second" | cmp - "$folder/first.choices"

file=$(ls "$folder"/cache/*.plans)
size=$(wc -c <"$file")
printf 'X' | dd of="$file" bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
plan "$folder/third"
grep -q 'damaged from byte' "$folder/third.log"
expect "reused of a damaged file" "$(figure "$folder/third" reused)" -lt "$count"
choices "$folder/third" | cmp - "$folder/first.choices"
