#!/usr/bin/env bash
# tools/gpu-check itself, on the simulated device of the build: gpu_check.sh BUILD. compute-sanitizer and nsys are
# stand-ins that run the program and say what the real ones would.
set -euo pipefail

build=$1
root=$(dirname "$(dirname "$(realpath "$0")")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=false
complain() {
    echo "$1"
    failed=true
}

# run EXIT_CODE ARGUMENTS...: the script, its report as report.md.
run() {
    local expected=$1 code=0
    shift
    PATH=$work/bin:$PATH PYTHON=$python "$root/tools/gpu-check" --out "$work/report.md" "$@" >"$work/log" 2>&1 || code=$?
    [[ $code == "$expected" ]] || { complain "exit code $code instead of $expected with: $*"; cat "$work/log"; }
}
holds() { # LINE_PATTERN
    grep -qE "$1" "$work/report.md" || { complain "the report lacks: $1"; cat "$work/report.md"; }
}

mkdir "$work/bin"
cat >"$work/bin/compute-sanitizer" <<'END'
#!/bin/sh
[ "$1" = --version ] && { echo "Compute Sanitizer stand-in"; exit; }
[ "$2" = "${DEFECT:-}" ] && { echo "========= ERROR SUMMARY: 1 error"; exit 9; }
while [ "${1#--}" != "$1" ]; do shift 2; done
exec "$@"
END
cat >"$work/bin/nsys" <<'END'
#!/bin/sh
case $1 in
--version) echo "nsys stand-in" ;;
stats) cat "$(dirname "$0")/trace.csv" ;;
profile)
    shift
    while [ "${1#-}" != "$1" ]; do [ "$1" = -o ] && shift; shift; done
    exec "$@" ;;
esac
END
chmod +x "$work/bin/"*
header='Start (ns),Duration (ns),CorrId,Strm,Name'
printf '%s\n' "Processing trace" "$header" '0,50,1,7,[CUDA memcpy Host-to-Device]' '100,100,2,7,"conv<a, b>(int)"' \
    '150,100,3,8,pool' '160,80,4,9,[CUDA memcpy Host-to-Device]' '900,50,5,7,[CUDA memset]' >"$work/bin/trace.csv"
python=$(command -v python3 || echo python3)

# All but the whole program, which program_simulated runs.
few=(--simulated --short --build "$build")
for words in build kernels tests step plans autotune largest throughput waiting overlap sanitizer; do few+=(--only "$words"); done
run 0 "${few[@]}"
for check in backend "tests test_training_ops" "tests test_optimizer" plans "largest batch" waiting overlap \
    "sanitizer memcheck test_optimizer" "sanitizer synccheck test_optimizer"; do
    holds "^\| $check \| pass \|"
done
holds '^\| build \| not run \|.*--build names'
holds '^\| throughput \| not run \|.*simulated device'
holds '^\| overlap .*100 % of the time of copies'
holds '\*\*0 failed\*\*'

# Failures are found, and change the exit code.
DEFECT=racecheck run 1 --simulated --short --build "$build" --only sanitizer
holds '^\| sanitizer racecheck test_optimizer \| FAIL \|.*1 error'
holds '^\| sanitizer memcheck test_optimizer \| pass \|'
MICROMET_SIMULATED_NO_DEVICE=1 run 1 "${few[@]}"
holds '^\| backend \| FAIL \|'
printf '%s\n' "$header" '100,100,2,7,conv' '190,40,4,9,[CUDA memcpy HtoD]' >"$work/trace.csv"
if found=$("$python" "$root/tools/parity/overlap.py" "$work/trace.csv") || [[ $found != "25 %"* ]]; then
    complain "a copy that no kernel runs beside: $found"
fi

if ! nvidia-smi -L 2>/dev/null | grep -q GPU && [[ ! -e /dev/nvidiactl && ! -e /dev/dxg ]]; then
    run 1 --build "$build"
    grep -q 'no GPU here' "$work/log" || complain "a machine without a GPU is not told of"
fi
! $failed
