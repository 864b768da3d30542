#!/usr/bin/env bash
# Every command and option that the file `options` records is accepted, stands in --help and in the
# manual page, and nothing else does. $MICROMET is the program.
set -euo pipefail

: "${MICROMET:?set MICROMET to the program}"
record=$(dirname "$(realpath "$0")")/options
pages=$(mktemp -d)
trap 'rm -rf "$pages"' EXIT
failed=false
complain() {
    echo "$*"
    failed=true
}

# The options that begin a line of text: "-o, --out FILE" is two.
options_of() {
    sed -n 's/^ *\(\\fB\)\{0,1\}\(-[-a-z, ]*\).*/\2/p' | { grep -oE -- '(^| )-[a-z]\b|--[a-z][a-z-]*' || true; } |
        tr -d ' ' | sort -u
}

"$MICROMET" manual "$pages"
mapfile -t commands < <("$MICROMET" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
((${#commands[@]} >= 12)) || complain "--help lists ${#commands[@]} commands"
for command in "${commands[@]}"; do
    page=$pages/micromet-$command.1
    wanted=$(sed -n "s/^$command //p" "$record" | sort -u)
    in_help=$("$MICROMET" "$command" --help | options_of)
    in_page=$(sed 's/\\-/-/g' "$page" | options_of)
    [[ $in_help == "$wanted" ]] || complain "$command --help has: $in_help, wanted: $wanted"
    [[ $in_page == "$wanted" ]] || complain "$page has: $in_page, wanted: $wanted"
    grep -q "^\.BR micromet\\\\-$command (1)" "$pages/micromet.1" || complain "micromet.1 lacks $command"
    # The unknown option ends the command before it begins.
    for option in $wanted; do
        output=$("$MICROMET" "$command" "$option" x --no-such-option 2>&1) && complain "$command $option ran"
        [[ $output != *"unknown option $option"* ]] || complain "$command refuses $option"
    done
done

for page in "$pages"/*.1; do
    if command -v mandoc >/dev/null; then
        mandoc -Tlint -Wwarning "$page" || complain "mandoc: $page"
    fi
    if command -v groff >/dev/null; then
        warnings=$(groff -man -ww -K utf8 -Tutf8 "$page" 2>&1 >/dev/null)
        [[ -z $warnings ]] || complain "groff: $warnings"
    fi
done
! $failed
