#!/usr/bin/env bash
# Trainings under a real Slurm of two virtual nodes end in the bits of an undisturbed one, whatever
# ends their jobs: run.sh SOURCE, with the environment of the scripts in ../exactness.
. "$(dirname "$0")/../exactness/functions.sh"
SOURCE=$1
. "$(dirname "$0")/functions.sh"

process_of() { # JOB [TASK]: the training that this job runs
    local process
    process=$(processes_of train "$@")
    [[ $process ]] && echo "$process"
}

# in_the_middle OUTPUT: in the first epoch, with a checkpoint behind it.
in_the_middle() {
    until_true 60 says "$1" 'step 10/12'
}

ends_like_the_reference() { # JOB RUNS
    until_true 120 is_done "$1"
    same_bits "$2"
    rm -r "$2"
}

echo '--- the script of micromet slurm: a step that gets SIGUSR1'
"$MICROMET" slurm "$config" train.run="$work/step" --time 10 --cpus 1 --out "$work/step.sh"
job=$(sbatch --parsable "$work/step.sh")
output=$work/step/exact-$job.out
in_the_middle "$output"
kill -USR1 "$(process_of "$job")"
until_true 60 says "$output" "requeueing Slurm job $job"
until_true 60 says "$output" 'resuming from'
ends_like_the_reference "$job" "$work/step"

echo '--- a program in place of the batch shell'
cat >"$work/shell.sh" <<END
#!/bin/bash
#SBATCH --output=$work/shell.out --open-mode=append --requeue --signal=B:USR1@90
exec "$MICROMET" train "$config" train.run="$work/shell" train.resume=auto train.requeue=true
END
job=$(sbatch --parsable "$work/shell.sh")
in_the_middle "$work/shell.out"
kill -USR1 "$(process_of "$job")"
until_true 60 says "$work/shell.out" 'resuming from'
ends_like_the_reference "$job" "$work/shell"

echo '--- the last task of an array is requeued alone'
cat >"$work/array.sh" <<END
#!/bin/bash
#SBATCH --array=0-2 --output=$work/array-%a.out --open-mode=append --requeue --signal=USR1@90
echo begins
srun "$MICROMET" train "$config" train.run="$work/array-\$SLURM_ARRAY_TASK_ID" train.resume=auto \
    train.requeue=true
END
job=$(sbatch --parsable "$work/array.sh")
until_true 120 says "$work/array-2.out" 'step 10/12'
kill -USR1 "$(process_of "$job" 2)"
until_true 60 says "$work/array-2.out" "requeueing Slurm job ${job}_2"
until_true 120 is_done "$job"
for task in 0 1 2; do same_bits "$work/array-$task"; done
[[ $(cat "$work"/array-[01].out | grep -c begins) == 2 ]] || fail 'other tasks began again'
[[ $(grep -c begins "$work/array-2.out") == 2 ]] || fail 'the last task did not begin twice'
rm -r "$work"/array-?

echo '--- a node is lost under a training'
"$MICROMET" slurm "$config" train.run="$work/lost" --time 10 --cpus 1 --out "$work/lost.sh"
job=$(sbatch --parsable "$work/lost.sh")
in_the_middle "$work/lost/exact-$job.out"
node=$(squeue -h -j "$job" -o %N)
"$tool" kill-node "$node"
until_true 90 says "$work/lost/exact-$job.out" 'resuming from'
[[ $(squeue -h -j "$job" -o %N) != "$node" ]] || fail "the job came back to $node"
ends_like_the_reference "$job" "$work/lost"
"$tool" start-node "$node"

echo '--- time is up'
"$MICROMET" slurm "$config" train.run="$work/time" train.epochs=100000 train.early_stop.patience=0 \
    --time 2 --cpus 1 --out "$work/time.sh"
job=$(sbatch --parsable "$work/time.sh")
output=$work/time/exact-$job.out
until_true 120 says "$output" "requeueing Slurm job $job"
until_true 60 says "$output" 'resuming from'
scancel "$job"
until_true 60 says "$output" 'stopped by Terminated'
! says "$output" 'requeueing' 2 || fail 'a cancelled job came back'
