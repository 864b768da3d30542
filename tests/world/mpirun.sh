#!/usr/bin/env bash
# Ranks that mpirun starts exchange by MPI, and end in time when one is lost, with one line: mpirun.sh LIBRARY, which is
# libmicromet_mpi.so or empty. Several worlds at once, as they mostly wait. Time counts from when the ranks have joined:
# how long mpirun takes to start them is no affair of the program's.
. "$(dirname "$0")/functions.sh"

if [[ ! -e ${1-} ]] || ! command -v mpirun >/dev/null; then
    echo "skipped: no Open MPI"
    exit 77
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# go NAME SIZE ARGUMENTS...: in the background
go() {
    local name=$1 size=$2 code=0
    shift 2
    WORLD_RANK_OPEN=$work/$name.open timeout 300 mpirun --oversubscribe -n "$size" "$WORLD_RANK" "$@" \
        >"$work/$name" 2>&1 </dev/null || code=$?
    echo "$code $(($(date +%s) - $(stat -c %Y "$work/$name.open")))" >"$work/$name.end"
}

version=$(mpirun --version | sed -n '1s/.* //p')
for size in 1 2 4; do go "work$size" "$size" work & done
MICROMET_EXCHANGE=tcp go tcp 2 work &
go slow 3 slow 1 &
go misfit 3 misfit 1 &
wait
for how in kill exit fail stop; do
    for victim in 0 2; do go "$how$victim" 4 "$how" "$victim" & done
    wait
done

works '1 rank on 1 host, started by mpirun' "$work/work1"
for size in 2 4; do
    works "$size ranks on 1 host, started by mpirun, exchange by MPI (Open MPI $version)" "$work/work$size"
done
works '2 ranks on 1 host, started by mpirun, exchange by TCP' "$work/tcp"
for name in work1 work2 work4 tcp slow; do
    read -r code seconds <"$work/$name.end"
    ((code == 0)) || { echo "$name: exit code $code" >&2; cat "$work/$name" >&2; failed=true; }
done
read -r code seconds <"$work/misfit.end"
says 2 'rank 1 exchanges something else: 15 floats, not 16' "$work/misfit" "$seconds" 60 misfit
for how in kill exit fail stop; do
    case $how in
    kill | exit) reason=$killed ;;
    fail) reason='the disk is full' ;;
    stop) reason=$stalled ;;
    esac
    for victim in 0 2; do
        read -r code seconds <"$work/$how$victim.end"
        says "$victim" "$reason" "$work/$how$victim" "$seconds" 60 "$how $victim"
        ((code != 0)) || { echo "$how $victim: exit code 0" >&2; failed=true; }
    done
    [[ $how != fail ]] || ((code == 3)) || { echo "fail: exit code $code, not 3" >&2; failed=true; }
done
! $failed
