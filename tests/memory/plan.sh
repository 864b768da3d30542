#!/usr/bin/env bash
# Training takes the memory that it says before it begins, by 10 % at most. $MICROMET names the
# program, $FIXTURE what cases/fixture.sh made.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=false

# holds ARGUMENTS...: one epoch of the fixture's training with these settings.
holds() {
    "$MICROMET" train "$FIXTURE/config.yaml" data.manifest="$FIXTURE/slides.csv" \
        data.pack="$FIXTURE/packs" train.run="$work" "$@" 2>"$work/log"
    if ! awk -F '[ ,]+' '/^memory: peak/ { print; near = $3 < 1.1 * $6 && $3 > 0.9 * $6 }
                         END { exit !near }' "$work/log"; then
        echo "not within 10 % with: $*"
        grep MiB "$work/log"
        failed=true
    fi
}

holds name=all model.freeze=all
holds name=part model.freeze=keras:150 train.batch=4
holds name=part model.freeze=keras:150 train.batch=4 train.epochs=2 --resume
holds name=none model.freeze=none data.levels=[0,1] data.source=slides
! $failed
