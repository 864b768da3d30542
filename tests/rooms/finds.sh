#!/usr/bin/env bash
# usage: finds.sh CC NM
#
# check.sh on a small house in order, and on the same house with one thing out of order after the other.
set -euo pipefail

cc=$1 nm=$2
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d "${TMPDIR:-/tmp}/micromet-rooms-XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=false

# add FILE LINE...: the lines at the end of a file of the house.
add() {
    mkdir -p "$(dirname "$work/$1")"
    printf '%s\n' "${@:2}" >>"$work/$1"
}

house() {
    rm -rf "$work"/*
    add include/micromet/base/file.h 'void file_read(void);'
    add include/micromet/nn/backend.h '#include "micromet/base/file.h"' 'void backend_open(void);'
    add src/base/file.c '#include "micromet/base/file.h"' 'void file_read(void) {}'
    add src/nn/backend.c '#include <stdlib.h>' '#include "micromet/nn/backend.h"' '#include "parts.h"' \
        'void backend_open(void) { file_read(); model_parts(); }'
    add src/nn/parts.h 'void model_parts(void);'
    add src/nn/parts.c '#include "parts.h"' 'void model_parts(void) {}'
    add src/cpu/backend.c '#include "micromet/nn/backend.h"' 'void cpu_open(void);' 'void cpu_open(void) { file_read(); }'
    add cuda/memory.c '#include "micromet/nn/backend.h"'
}

# expect PATTERN: what is out of order is found and told so; with an empty pattern nothing is.
expect() {
    local source code=0 output
    for source in $(cd "$work" && find src -name '*.c'); do
        "$cc" -I"$work/include" -c "$work/$source" -o "$work/$source.o" 2>/dev/null || "$cc" -x c -c /dev/null -o "$work/$source.o"
    done
    find "$work/src" -name '*.o' >"$work/objects"
    output=$("$here/check.sh" "$work" "$nm" "$work/objects" 2>&1) || code=$?
    if [[ -z $1 && ($code != 0 || -n $output) ]]; then
        echo "complains about a house in order: $output"
        failed=true
    elif [[ -n $1 ]] && { ((code == 0)) || ! grep -qE "^rooms: $1\$" <<<"$output"; }; then
        echo "does not say '$1', but (exit code $code): $output"
        failed=true
    fi
}

house
expect ''

house
add src/base/file.c '#include "micromet/nn/backend.h"'
expect 'src/base/file.c: includes micromet/nn/backend.h, but base stands below or beside nn'

house
add src/nn/backend.c 'void file_read(void) {}' '#include "../base/other.h"'
expect 'src/nn/backend.c: includes \.\./base/other\.h, which is neither in its folder nor in a table'

house
add include/micromet/nn/model.h ''
add src/cpu/backend.c '#include "micromet/nn/model.h"'
expect 'src/cpu/backend.c: includes micromet/nn/model.h, but cpu stands below or beside nn'

house
add src/nn/backend.c '  #  include <openslide.h> /* only here */'
expect 'src/nn/backend.c: includes openslide.h, which is not for the room nn'

house
add cuda/memory.c '#include <cufft.h>'
expect 'cuda/memory.c: includes cufft.h, which is neither in its folder nor in a table'

house
add src/attic/box.c '#include <stdio.h>'
expect 'src/attic/box.c: the room attic is in no table'

house
add src/base/file.c 'void backend_open(void);' 'void base_calls(void) { backend_open(); }'
expect 'src/base/file.c: takes backend_open from src/nn/backend.c, but base stands below or beside nn'

house
add include/micromet/base/file.h '#include "micromet/base/text.h"'
add include/micromet/base/text.h '#include "micromet/base/file.h"'
expect 'a circle of includes: include/micromet/base/(file|text).h include/micromet/base/(file|text).h'

house
add src/nn/parts.c '#include "micromet/nn/backend.h"' 'void parts_open(void) { backend_open(); }'
expect 'a circle of functions and variables: src/nn/(backend|parts).c src/nn/(backend|parts).c'

house
for ((i = 0; i < 499; i++)); do echo; done >>"$work/src/nn/parts.c"
expect 'src/nn/parts.c: 501 lines, and no reason for more than 500'

! $failed
