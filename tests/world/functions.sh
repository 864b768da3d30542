# What the scripts of this folder share: $WORLD_RANK names the program.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Nothing of the launcher that has started this test.
for name in "${!SLURM_@}" "${!OMPI_@}" "${!PMI_@}" "${!PMIX_@}" "${!MASTER_@}"; do
    [[ $name == SLURM_UP_* ]] || unset "$name"
done
unset RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE
export MICROMET_WORLD_SILENCE_S=3 OMP_NUM_THREADS=1
failed=false

# The reasons behind "micromet: rank N on HOST: ".
killed='ended without a word (killed?)'
stalled='not heard of for 3 s: stalled, or its host is gone'

# says RANK REASON OUTPUT SECONDS SECONDS_MAX WHAT: one line of the program's, within the time. What the launcher says
# besides is its own affair.
says() {
    local lines
    lines=$(grep -c '^micromet: ' "$3" || true)
    if ((lines != 1)) || ! grep -qE "^micromet: rank $1 on [^ ]+: " "$3" || ! grep -qF ": $2" "$3"; then
        echo "$6: not one line of rank $1: $2, but:" >&2
        cat "$3" >&2
        failed=true
    fi
    if (($4 > $5)); then
        echo "$6: took $4 s" >&2
        failed=true
    fi
}

# works WANTED OUTPUT
works() {
    if ! grep -qxF "$1" "$2"; then
        echo "not '$1', but:" >&2
        cat "$2" >&2
        failed=true
    fi
}
