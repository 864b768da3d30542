#!/usr/bin/env bash
# One deliberate defect of cuda/: the test that its patch names must find it, for the reason that the patch names, and pass without it.
#
# usage: run.sh NAME.patch. The patch begins with
#     Defect: what is wrong, in a line
#     Test: program and arguments
#     Environment: NAME=value ... (may be absent)
#     Says: an extended regular expression for a line that the failing test prints
# and changes one file of cuda/, which alone is compiled again, as $COMPILE_COMMANDS has it; $LINK lists the rest of $LIBRARY.
# $BUILD is CMake's build folder, $SOURCE the project's, $PROGRAMS the folders of the tests.
set -euo pipefail

patch=$1
name=$(basename "$patch" .patch)
work=$PWD/mutations/$name
mutant=$work/$(basename "$LIBRARY")

die() {
    echo "$name: $*" >&2
    exit 1
}

field() {
    sed -n "/^--- /q; s/^$1: //p" "$patch"
}

read -ra test <<<"$(field Test)"
read -ra environment <<<"$(field Environment)"
says=$(field Says)
file=$(sed -n 's|^+++ b/\([^[:space:]]*\).*|\1|p' "$patch")
[[ $(field Defect) && ${test[*]} && $says && $file == cuda/*.c* ]] || die "$patch lacks a field, or does not change one file of cuda/"

# The test with the library in this folder.
run_test() {
    local program
    program=$(PATH=$PROGRAMS type -P "${test[0]}") || die "there is no test ${test[0]}"
    rm -rf "$work/cache"
    env "${environment[@]}" MICROMET_CUDA_LIBRARY="$1/$(basename "$LIBRARY")" LD_LIBRARY_PATH="$1" XDG_CACHE_HOME="$work/cache" \
        timeout 120 "$program" --jobs 1 --color=never "${test[@]:1}" 2>&1
}

rm -rf "$work"
mkdir -p "$work/cuda"
trap 'rm -rf "$work"' EXIT

cp "$SOURCE/$file" "$work/$file"
patch --silent --directory="$work" --strip=1 --fuzz=0 <"$patch" ||
    die "$patch does not apply to $file any more: make the same defect there again"

# ... -o OBJECT -c FILE, in JSON's quotes.
command=$(sed -n 's|^ *"command": "\(.*\)",*$|\1|p' "$COMPILE_COMMANDS" | sed 's|\\\(.\)|\1|g' |
    grep "micromet_cuda_simulated\.dir/.* -c $SOURCE/$file\$") || die "$COMPILE_COMMANDS does not say how $file is compiled"
(cd "$BUILD" && eval "${command% -o *}" -o "$work/mutated.o" -c "$work/$file")
grep -v "/$file\.o\$" "$LINK" >"$work/link"
[[ $(wc -l <"$work/link") -eq $(($(wc -l <"$LINK") - 1)) ]] || die "$LINK does not have the object of $file once"
"$LINKER" -shared -o "$mutant" "$work/mutated.o" "@$work/link"

output=$(run_test "$(dirname "$LIBRARY")") || die "the test fails without the defect as well:"$'\n'"$output"
if output=$(run_test "$work"); then
    die "not found by '${test[*]}': $(field Defect)"$'\n'"$output"
fi
grep --text -E -m 1 "$says" <<<"$output" || die "the test fails, but does not say '$says':"$'\n'"$output"
