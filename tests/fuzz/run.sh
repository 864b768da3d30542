#!/usr/bin/env bash
# usage: run.sh SOURCE
#
# A minute of tools/fuzz for each reader. Exit code 77 where there is no clang with libFuzzer.
set -euo pipefail

probe=$(mktemp)
trap 'rm -f "$probe"' EXIT
if ! echo 'int LLVMFuzzerTestOneInput(const char *b, unsigned long n) { return b == 0 && n; }' |
    clang -fsanitize=fuzzer,address -x c -o "$probe" - 2>/dev/null; then
    echo "skipped: no clang with libFuzzer here (Debian: apt install clang libclang-rt-dev llvm)"
    exit 77
fi
"$1/tools/fuzz" 60
