# What scripts on Slurm share. $work is a folder of the script, SOURCE the checkout.

# start_cluster NODES CPUS: a Slurm of so many virtual nodes with so many processors each, which ends with the script;
# $tool is its tools/slurm-up. Nothing is left of the Slurm job that has started this test.
start_cluster() {
    local name code=0 environment
    tool=$SOURCE/tools/slurm-up
    export SLURM_UP_DIR=$work/cluster SLURM_UP_PORT=$((20000 + $$ % 10000))
    for name in "${!SLURM_@}"; do
        [[ $name == SLURM_UP_* ]] || unset "$name"
    done
    environment=$("$tool" up "$1" "$2") || code=$?
    if ((code == 2)); then
        echo "skipped: no Slurm can be started here"
        exit 77
    fi
    trap '"$tool" down; rm -rf "$work"' EXIT
    if ((code != 0)); then
        echo "Slurm does not start" >&2
        exit 1
    fi
    eval "$environment"
}
