#!/usr/bin/env bash
# usage: run.sh NAME.patch
#
# One deliberate defect of cuda/: the test that its patch names must find it, for the reason that the patch names, and
# pass without it. The patch begins with
#     Defect: what is wrong, in a line
#     Test: program and arguments
#     Environment: NAME=value ... (may be absent)
#     Says: an extended regular expression for a line that the failing test prints
# and changes one file of cuda/. That alone is compiled again, as $COMPILE_COMMANDS says; $LINK has what $LIBRARY is
# linked from. $SOURCE and $BUILD are CMake's folders, $PROGRAMS those of the tests.
set -euo pipefail

patch=$1
name=$(basename "$patch" .patch)
library=$(basename "$LIBRARY")
work=$PWD/mutations/$name

die() {
    echo "$name: $*" >&2
    exit 1
}

field() {
    sed -n "/^--- /q; s/^$1: //p" "$patch"
}

# The test with the library in the folder $1.
run_test() {
    rm -rf "$work/cache"
    env "${environment[@]}" MICROMET_CUDA_LIBRARY="$1/$library" MICROMET_NCCL_LIBRARY="$1/$library" \
        LD_LIBRARY_PATH="$1" XDG_CACHE_HOME="$work/cache" timeout 300 "$program" --jobs 1 --color=never "${test[@]:1}" 2>&1
}

read -ra test <<<"$(field Test)"
read -ra environment <<<"$(field Environment)"
says=$(field Says)
file=$(sed -n 's|^+++ b/\([^[:space:]]*\).*|\1|p' "$patch")
[[ $(field Defect) && ${test[*]} && $says ]] || die "$patch lacks a line for Defect, Test or Says"
[[ $file == cuda/*.c* ]] || die "$patch does not change one file of cuda/"
program=$(PATH=$PROGRAMS type -P "${test[0]}") || die "there is no test ${test[0]} in $PROGRAMS"

rm -rf "$work"
mkdir -p "$work/cuda"
trap 'rm -rf "$work"' EXIT

cp "$SOURCE/$file" "$work/$file"
patch --silent --directory="$work" --strip=1 --fuzz=0 <"$patch" ||
    die "$patch does not apply to $file any more: put the same defect into it as it is now"

# ... -o OBJECT -c FILE, behind JSON's backslashes.
command=$(sed -n 's|^ *"command": "\(.*\)",*$|\1|p' "$COMPILE_COMMANDS" | sed 's|\\\(.\)|\1|g' |
    grep "micromet_cuda_simulated\.dir/.* -c $SOURCE/$file\$") || die "$COMPILE_COMMANDS does not have $file"
(cd "$BUILD" && eval "${command% -o *}" -o "$work/$file.o" -c "$work/$file")
sed "s|^.*/$file\.o\$|$work/$file.o|" "$LINK" >"$work/link"
grep -q "^$work/" "$work/link" || die "$LINK does not have the object of $file"
"$LINKER" -shared -o "$work/$library" "@$work/link"

output=$(run_test "$(dirname "$LIBRARY")") || die "the test fails without the defect as well:"$'\n'"$output"
if output=$(run_test "$work"); then
    die "not found by '${test[*]}': $(field Defect)"$'\n'"$output"
fi
grep --text -E -m 1 "$says" <<<"$output" || die "the test fails, but does not say '$says':"$'\n'"$output"
