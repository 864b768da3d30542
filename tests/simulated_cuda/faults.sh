#!/usr/bin/env bash
# Fault injection: makes every place in the CUDA backend that calls the device fail in turn, while
# `micromet train` continues from a checkpoint. faults.sh [PATTERN of the faults to run]; $MICROMET
# names the program, $FIXTURE the output of cases/fixture.sh.
#
# A run without a fault lists the places (runtime_report.cpp). Each place then fails at its middle
# call, and each entry point at its first and last (test_cuda_core lets every single call fail). The
# table below gives the expected outcome: the run either ends with exit code 1 and one message that
# names the call and its place, or goes on. Nothing may hang or stay allocated on the device, and
# checkpoints must stay intact: continued from the newest, training ends in the same bits as
# without the fault.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
work=$(mktemp -d "${TMPDIR:-/tmp}/micromet-faults-XXXXXX")
trap 'rm -rf "$work"' EXIT
cp -R "$FIXTURE"/{slides.csv,slides} "$here/faults.yaml" "$work"
cd "$work"

# Per row: entry point, functions it is called through (with ",last" if the fault is its last call),
# expected outcome, and what the message must name if not the entry point (-). The first row that
# matches applies. Outcomes:
#   fails    exit code 1 and one message
#   warns    a warning; exit code 0, or 1 and one message if the lost device is still needed
#   goes-on  exit code 0 and no message
#   plans    exit code 0; at most a warning that cuDNN could not compile a convolution's best form
outcomes='
cudnnBackend(Create|Set|Finalize|Get)  cudnn_plan_op         plans    -                    another engine or form is used
cudnnBackendGet                        cudnn_plan_serialize  goes-on  -                    the plan is not cached
cudnnBackendDestroyDescriptor          .                     warns    -                    released for the program all the same
cudnnDestroy                           .                     warns    -
cublasLt.*Destroy                      .                     warns    -
cuda(Free|FreeHost|.*Destroy)          .                     warns    -
cudaDeviceSynchronize                  .                     warns    -                    precedes a release
cudaStreamSynchronize                  ,last$                goes-on  -                    while the model is released
cudaGetLastError                       .                     fails    may.have.been.queued an earlier, asynchronous failure
cudaLaunchKernel                       .                     fails    may.have.been.queued work fails when it runs
cudaGetDevice(Properties)?$            Create                fails    c(udnn|ublasLt)Create
.                                      .                     fails    -
'

# fault NAME NTH CHAIN: inject one fault and judge the run.
fault() {
    local name=$1 nth=$2 chain=$3 run=$1.$2 code=0 pattern through outcome names reached
    while read -r pattern through outcome names _; do
        [[ -n $pattern && $name =~ ^$pattern && $chain =~ $through ]] && break
    done <<<"$outcomes"
    [[ $names != - ]] || names=$name
    begin "$run"
    MICROMET_SIMULATED_FAIL=$name:$nth MICROMET_SIMULATED_REPORT=$run/report train "$run" log || code=$?

    reached=$(awk -v name="$name" '$1 == "call" && $2 == name { print $3 }' "$run/report" 2>/dev/null || true)
    if ((${reached:-0} < nth)) && [[ $name =~ ^cuda(Event(Record|Synchronize|Query)|GetLastError)$ && $code == 0 ]]; then
        outcome=goes-on # the number of calls varies: the clock is aligned every eight seconds, marks are polled
    fi
    complaints=$(judge "$run" "$code" "$outcome" "$names"; intact "$run")
    if [[ -n $complaints ]]; then
        echo "$name, call $nth, through $chain, $outcome: exit code $code; $complaints"
        grep -v MiB "$run/log" | tail -n 4
    fi
    rm -rf "${work:?}/$run"
    [[ -z $complaints ]]
}

# begin RUN: copy the run of the first epoch. Checkpoints are hard links and never written to.
begin() {
    mkdir -p "$1/faults"
    cp -a first/faults/* "$1/faults"
    rm -r "$1/faults/checkpoints"
    cp -al first/faults/checkpoints "$1/faults"
}

# train RUN LOG: continue the run to its second epoch.
train() {
    timeout $hangs_s "$MICROMET" train faults.yaml train.epochs=2 train.run="$1" >"$1/out" 2>"$1/$2"
}

# judge RUN CODE OUTCOME NAMES: print what is wrong with the way the run ended.
judge() {
    local run=$1 code=$2 outcome=$3 names=$4 errors warnings
    errors=$(grep -c '^micromet: ' "$run/log" || true)
    warnings=$(grep -c '^warning: ' "$run/log" || true)
    case $outcome:$code:$errors:$warnings in
    fails:1:1:0 | warns:1:1:1 | warns:0:0:1 | goes-on:0:0:0 | plans:0:0:[01]) ;;
    *) echo "$errors messages, $warnings warnings" ;;
    esac
    case $outcome in
    goes-on) ;;
    plans) grep '^warning: ' "$run/log" | grep -v "cuDNN could not compile" || true ;;
    *)
        awk -v names="$names" -v place='at cuda/[a-z_]+[.]c:[0-9]+' \
            '/^(micromet|warning): / && !($0 ~ names && $0 ~ place)' "$run/log"
        ;;
    esac
    [[ -s $run/report ]] || echo "it did not end by itself"
    grep -h '^leak' "$run/report" || true
    grep 'simulated CUDA device' "$run/log" || true
    [[ $code != 0 || -e $run/faults/checkpoints/step-000000006.safetensors ]] || echo "it did not end its epoch"
}

same() {
    cmp -s "$1" "$2"
}

# intact RUN: print what is wrong with its checkpoints. Those already found good are kept in good/.
intact() {
    local folder=$1/faults/checkpoints newest file good
    newest=$(find "$folder" -name 'step-*.safetensors' | sort | tail -n 1)
    find "$folder" \( -name '*partial*' -o -name '.?*' \) -printf 'left behind: %f\n'
    for file in "$folder"/*.safetensors; do
        for good in good/* reference/faults/checkpoints/step*; do
            ! same "$file" "$good" || continue 2
        done
        "$MICROMET" inspect "$file" >/dev/null || echo "$file cannot be read"
    done
    for good in good/*; do
        ! same "$newest" "$good" || return 0
    done
    cp -l "$newest" "good/new.$BASHPID"
    train "$1" again && same "$folder/step-000000006.safetensors" reference/faults/checkpoints/step-000000006.safetensors ||
        { echo "$newest does not go on to the same end"; rm "good/new.$BASHPID"; }
}

export -f fault begin train judge same intact

prepared() {
    "$@" >log 2>&1 || { cat log; exit 1; }
}
prepared "$MICROMET" prepare faults.yaml
prepared "$MICROMET" train faults.yaml train.run=first
mkdir good
begin reference
SECONDS=0
prepared env MICROMET_SIMULATED_REPORT=reference/report "$MICROMET" train faults.yaml train.epochs=2 train.run=reference
hangs_s=$((60 + 10 * SECONDS))
! grep '^leak' reference/report

# Places are identified by their chain of functions. Release calls get only one fault each: most
# occur at the end, so each costs a whole run.
awk '$1 != "site" { next }
     { chain = $6 == "" ? "-" : $6 }
     !seen[$2, chain]++ { print $2, $4, chain }
     $2 ~ /Destroy|cudaFree|cudaDeviceSynchronize/ { next }
     !($2 in first) || $3 < first[$2] { first[$2] = $3; begins[$2] = chain }
     $5 > last[$2] { last[$2] = $5; ends[$2] = chain }
     END { for (name in first) print name, first[name], begins[name]
           for (name in last) print name, last[name], ends[name] ",last" }' \
    reference/report | sort -u -k 1,1 -k 2,2n | grep -E "${1:-.}" >faults
echo "$(wc -l <faults) faults of $(cut -d ' ' -f 1 faults | sort -u | wc -l) entry points"
export work outcomes hangs_s
xargs -P "$(nproc)" -L 1 bash -c 'fault "$@"' fault <faults
[[ -z ${1:-} ]] || exit 0

# --- out of memory: what it was for, how much, who holds the rest, and which batch would fit ---

# dry KEY=VALUE...: print the message of a dry run
dry() {
    timeout $hangs_s "$MICROMET" train faults.yaml --dry-run train.run=dry train.examples_per_epoch=1000 compute.workspace=8 \
        "$@" 2>&1 >/dev/null | grep '^micromet: ' || true
}

expect() {
    [[ $2 =~ ^$1$ ]] || { echo "'$2' is not as expected: $1"; exit 1; }
}

number='[0-9]+\.[0-9]'
where='cudaErrorMemoryAllocation at cuda/memory\.c:[0-9]+'
gpu="the GPU is out of memory \(cudaMalloc: $where\): $number MiB asked for, $number of $number MiB free; this process \
holds $number MiB of buffers, $number of plans and $number of workspace; a smaller train.batch needs less"
nth() {
    awk -v chain="$1" '$1 == "site" && $2 == "cudaMalloc" && $6 ~ chain { print $3; exit }' reference/report
}

too_large="micromet: train\.batch: [0-9]+ does not fit: it takes [0-9]+ MiB, and the GPU has [0-9]+;"
expect "$too_large not even one window fits; a smaller data\.window needs less" \
    "$(MICROMET_SIMULATED_MEMORY=300 dry model.freeze=none train.batch=2)"
expect "micromet: parameters: $gpu, but not even a batch of 1 fits" \
    "$(MICROMET_SIMULATED_MEMORY=2000:60 dry model.freeze=none train.batch=2)"
expect "micromet: workspace: $gpu" "$(MICROMET_SIMULATED_FAIL=cudaMalloc:$(nth workspace_reserve) dry)"
expect "micromet: packed weights: $gpu" "$(MICROMET_SIMULATED_FAIL=cudaMalloc:$(nth '^cuda_alloc<weights_reserve') dry)"
expect "micromet: ring of host batches: the system pins no more host memory \(cudaHostAlloc: $where\): $number MiB asked \
for, this process holds $number MiB of it; a smaller train.batch or data.ring needs less" \
    "$(MICROMET_SIMULATED_FAIL=cudaHostAlloc:8 dry)"

export MICROMET_SIMULATED_MEMORY=1000 MICROMET_SIMULATED_REFUSE=0 # the same forms whatever the batch
largest="the largest batch that fits is"
message=$(dry model.freeze=none train.batch=256)
expect "$too_large $largest ([0-9]+)" "$message"
fits=${BASH_REMATCH[1]}
expect '' "$(dry model.freeze=none train.batch="$fits")"
expect "$too_large $largest $fits" "$(dry model.freeze=none train.batch=$((fits * 3 / 2 + 2)))"
export MICROMET_SIMULATED_MEMORY=4000:700 # another process took the rest
message=$(dry model.freeze=none train.batch=256)
expect "micromet: activations: $gpu, the largest that fits is ([0-9]+)" "$message"
MICROMET_SIMULATED_MEMORY=4000:702
expect '' "$(dry model.freeze=none train.batch="${BASH_REMATCH[1]}")"
