#!/usr/bin/env bash
# tools/kernel-report finds each defect that it is there to find: kernel_report.sh FOLDER, where the build kept what ptxas
# said.
set -euo pipefail

report=$(dirname "$(realpath "$0")")/../tools/kernel-report
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=false

# finds MESSAGE SED_SCRIPT: with the first file changed so, the report fails and says the message.
finds() {
    rm -rf "$work/build"
    mkdir "$work/build"
    cp "$kept"/*.resources "$work/build"
    sed -i "$2" "$work/build/pool.cu.o.resources"
    if "$report" --build "$work/build" >"$work/log" 2>&1 || ! grep -q "$1" "$work/log"; then
        echo "not found: $1"
        tail -5 "$work/log"
        failed=true
    fi
}

kept=$1
finds 'a frame of 16 bytes, 0 bytes spilt' '0,/0 bytes stack frame/s//16 bytes stack frame/'
finds 'a frame of 0 bytes, 8 bytes spilt' '0,/0 bytes spill stores/s//8 bytes spill stores/'
finds 'threads of 255 registers' '0,/Used [0-9]* registers/s//Used 255 registers/'
finds 'pool_forward.* was not compiled for' '/Compiling entry.*pool_forward/,/Used/d'
finds 'pool.cu:' '1i pool.cu(1): warning: a variable was never used'
! $failed
