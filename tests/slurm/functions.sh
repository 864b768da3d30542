# What the scripts of this folder share: a Slurm cluster of two virtual nodes, which ends with the script; SOURCE is the
# checkout. Signals are sent by process number, as scancel --signal tries again and hits the requeued job.
. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"
start_cluster 2 1

# until_true SECONDS COMMAND...
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        if ((SECONDS > end)); then
            squeue -t all
            tail -n 30 "$work"/*/*.out "$work"/*.out 2>/dev/null || true
            fail "waited too long for: $*"
        fi
        sleep 0.05
    done
}

is_done() { # JOB: whether all of its tasks are completed
    local states
    states=$(squeue -h -t all -j "$1" -o %T | sort -u)
    [[ $states == COMPLETED ]]
}

says() { # FILE TEXT [COUNT]
    [[ -e $1 ]] && (($(grep -c "$2" "$1") >= ${3:-1}))
}

# has_environment PROCESS NAME=VALUE: whether it was started with that.
has_environment() {
    tr '\0' '\n' 2>/dev/null <"/proc/$1/environ" | grep -qx "$2"
}

# processes_of COMMAND JOB [TASK]: those of this program that the job runs, such as its trainings.
processes_of() {
    local process
    for process in $(pgrep -f "micromet $1"); do
        [[ /proc/$process/exe -ef $MICROMET ]] && has_environment "$process" "SLURM_CONF=$SLURM_CONF" &&
            has_environment "$process" "SLURM_${3:+ARRAY_}JOB_ID=$2" &&
            { [[ ! ${3-} ]] || has_environment "$process" "SLURM_ARRAY_TASK_ID=$3"; } && echo "$process"
    done
    true
}
