# What the commands of cases share; a command reads it with `. "$CASES/functions.sh"`.

# Put the fixture's config.yaml, slides.csv and slides, and the folders named (packs, runs), into
# the current folder. Files of the case itself stay.
use_fixture() {
    local name
    for name in config.yaml slides.csv slides "$@"; do
        cp -Rdn "$FIXTURE/$name" .
    done
}

# flip_bit FILE OFFSET
flip_bit() {
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    printf '%b' "\\x$(printf '%x' $((byte ^ 1)))" |
        dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# write_safetensors FILE JSON DATA_BYTES: a header of at most 248 bytes, then zeros.
write_safetensors() {
    local json=$2
    while ((${#json} % 8)); do json+=' '; done
    printf '%b\0\0\0\0\0\0\0%s' "\\x$(printf '%x' ${#json})" "$json" >"$1"
    head -c "$3" /dev/zero >>"$1"
}

# on_small_disk SIZE FOLDER COMMAND...: run the command while FOLDER is a file system of that size.
on_small_disk() {
    local size=$1 folder=$2
    shift 2
    mkdir -p "$folder"
    if ! unshare -rm mount -t tmpfs none "$folder" 2>/dev/null; then
        echo "skipped: this user may not mount a file system"
        exit 77
    fi
    unshare -rm bash -c 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && "$@"' \
        - "$size" "$folder" "$@"
}

# needs_cuda_built 0|1: whether the CUDA backend was built with the program.
needs_cuda_built() {
    [[ $CUDA_BUILT == "$1" ]] && return
    echo "skipped: this build has $([[ $1 == 1 ]] && echo no || echo a) CUDA backend"
    exit 77
}

needs_no_driver() {
    ldconfig -p | grep -q 'libcuda\.so\.1 ' || return 0
    echo "skipped: NVIDIA's driver is installed"
    exit 77
}

# Whoever asks for CUDA gets the simulated device.
use_simulated() {
    if [[ ! $SIMULATED ]]; then
        echo "skipped: the simulated device was not built"
        exit 77
    fi
    export MICROMET_CUDA_LIBRARY=$SIMULATED XDG_CACHE_HOME=$PWD
}
