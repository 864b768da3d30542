#!/usr/bin/env bash
# The report of 200 runs in a browser without a window, from a file: everything is drawn, nothing is complained about, no
# text of the runs becomes markup. $MICROMET is the program, $MAKE_SWEEP writes the sweep.
set -euo pipefail

: "${MICROMET:?set MICROMET to the program}" "${MAKE_SWEEP:?set MAKE_SWEEP to the program of that name}"
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
    echo "skipped: no Chromium is installed"
    exit 77
}
work=$(mktemp -d "${TMPDIR:-/tmp}/micromet-report-XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=false

"$MAKE_SWEEP" "$work/sweep"
page=$("$MICROMET" sweep report "$work/sweep")
[[ $page == "$work/sweep/report/index.html" ]] || { echo "printed '$page'"; exit 1; }

"$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$work/profile" --enable-logging=stderr --v=0 \
    --virtual-time-budget=5000 --dump-dom "file://$page" >"$work/dom" 2>"$work/log"
if grep CONSOLE "$work/log"; then
    echo "the page's script complains"
    failed=true
fi

# expect COUNT PATTERN: lines are split at elements.
expect() {
    local got
    got=$(sed -n '/<main>/,$p' "$work/dom" | sed '/<script/,$d' | tr '<' '\n' | grep -c -- "$2") || true
    [[ $got == "$1" ]] && return
    echo "$2: $got instead of $1"
    failed=true
}
# Of 200 runs 9 have failed, and 125 were halted behind their first epoch.
expect 382 '^path class="curve r'  # in the validation curves, and through all parameters
expect 1080 '^circle class="dot r' # at each of five parameters, and curves of one epoch
expect 209 '^tr class="r'          # of the runs, and of the failures
expect 100 '^td .*>[12] of 2$'     # configurations
expect 1 '^b class="best">0\.91949 ± 0\.00081 over 2 repetitions, 0\.92006 of run 0092$'
expect 0 '^img'
expect 0 '^script'
grep -q '<title>sweep – micromet sweep</title>' "$work/dom" || { echo "the title is another"; failed=true; }

! $failed
