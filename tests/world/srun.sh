#!/usr/bin/env bash
# Ranks that srun starts on two virtual nodes, with PMIx and without: srun.sh SOURCE LIBRARY
. "$(dirname "$0")/functions.sh"

SOURCE=$1
. "$(dirname "$0")/../slurm/cluster.sh"
start_cluster 2 2
# Two ranks of the same number on two virtual nodes would take the same shared memory.
export OMPI_MCA_btl=^vader

# ranks NAME MPI ARGUMENTS...
ranks() {
    local start=$SECONDS name=$1 mpi=$2
    shift 2
    code=0
    timeout 100 srun "--mpi=$mpi" -N2 -n4 "$WORLD_RANK" "$@" >"$work/$name" 2>&1 </dev/null || code=$?
    seconds=$((SECONDS - start))
}

export MASTER_ADDR=127.0.0.1 # no node of that name can be found
ranks tcp none work
works '4 ranks on 2 hosts, started by srun, exchange by TCP' "$work/tcp"

if [[ ! -e ${2-} ]] || ! srun --mpi=list 2>&1 | grep -qw pmix; then
    echo "without Open MPI and PMIx"
    ! $failed
    exit
fi
ranks work pmix work
works "4 ranks on 2 hosts, started by srun, exchange by MPI (Open MPI $(mpirun --version | sed -n '1s/.* //p'))" "$work/work"
ranks kill pmix kill 2
says 2 "$killed" "$work/kill" "$seconds" 40 'kill 2'
ranks stop pmix stop 3
says 3 "$stalled" "$work/stop" "$seconds" 40 'stop 3'
! $failed
