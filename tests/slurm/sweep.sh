#!/usr/bin/env bash
# Sweeps under a real Slurm of two virtual nodes end in the bits of undisturbed ones, and nothing of
# them is lost or done twice: sweep.sh SOURCE, with the environment of the scripts in ../exactness.
SOURCE=$1
here=$(dirname "$(realpath "$0")")
. "$here/../sweep/functions.sh"
. "$here/functions.sh"

configuration long 1 0 10
configuration short 4 40 10 # 20 steps an epoch
cat >twelve.yaml <<'END'
base: long.yaml
paired:
  optimizer.learning_rate: [1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4, 7e-4, 8e-4, 9e-4, 1e-3, 2e-3, 3e-3]
  train.batch: [2, 2, 2, 2, 2, 2, 2, 60000, 2, 2, 2, 2]
END
cat >four.yaml <<'END'
base: long.yaml
grid: {optimizer.learning_rate: [1e-4, 3e-4, 1e-3, 3e-3]}
END
halving short 6 4 >halving.yaml
sed 's/factor: 2/factor: 2, asynchronous: true/' halving.yaml >asynchronous.yaml

job_of() { # SCRIPT: the job that it became, by what `submit` printed
    sed -n "s/^$1: job //p" submitted
}

are_over() { # JOB: none of its tasks is to come or under way
    local states
    states=$(squeue -h -t all -j "$1" -o %T | sort -u | tr '\n' ' ')
    [[ $states == 'COMPLETED ' || $states == 'FAILED ' || $states == 'COMPLETED FAILED ' ]]
}

begun() { # OUTPUT TIMES: how often a run was begun by this task
    [[ $(grep -c ' begins' "$1") == "$2" ]] || fail "$1: not begun $2 times: $(cat "$1")"
}

# Without whatever decides the code: the bad value.
undisturbed() { # NAME
    "$MICROMET" sweep run "$1.yaml" --out "undisturbed/$1" --jobs 2 >log 2>&1 || (($? == 3)) || fail "$(cat log)"
}

echo '--- twelve tasks: a node is lost, the last one is stopped, one has a bad value, one has no room'
undisturbed twelve
"$MICROMET" sweep slurm twelve.yaml --out lost --time 10 --cpus 1 | tee written
grep -q '^12 tasks; to submit them: sh ' written
mkdir -p lost/runs
touch lost/runs/0005
sh lost/slurm/submit.sh | tee submitted
job=$(job_of rung-0.sh)
[[ $(job_of prepare.sh) ]] || fail 'no job makes the packs'
task() { echo "lost/slurm/rung-0-${job}_$1.out"; }
until_true 120 says lost/state/0002.log 'step 20/41'
# Else it may be done before its node is lost.
# shellcheck disable=SC2046 # numbers
kill -STOP $(processes_of train "$job" 2)
node=$(squeue -h -j "${job}_2" -o %N)
"$tool" kill-node "$node"
until_true 120 says "$(task 2)" 'run 0002 begins' 2
"$tool" start-node "$node"
until_true 240 says lost/state/0011.log 'step 20/41'
# Slurm signals all processes of a step.
# shellcheck disable=SC2046 # numbers
kill -USR1 $(processes_of 'sweep run' "$job" 11) $(processes_of train "$job" 11)
until_true 60 says "$(task 11)" "requeueing Slurm job ${job}_11"
until_true 120 are_over "$job"
for i in 0 1 3 4 5 6 7 8 9 10; do begun "$(task $i)" 1; done
begun "$(task 11)" 2
"$MICROMET" sweep status lost | tee status
grep -q '^10 of 12 runs done, 2 failed$' status
grep -q '^0007  failed .*train.batch' status
[[ $(squeue -h -t FAILED -j "$job" -r -o %K | sort -n | tr '\n' ' ') == '5 7 ' ]] || fail 'other tasks failed'

echo '--- what has failed is run again, and nothing else'
rm lost/runs/0005
"$MICROMET" sweep slurm lost --retry --time 10 --cpus 1 --submit | tee submitted
job=$(job_of rung-0.sh)
grep -qx '#SBATCH --array=5,7' lost/slurm/rung-0.sh
until_true 120 are_over "$job"
"$MICROMET" sweep status lost | grep -q '^11 of 12 runs done, 1 failed$'
same_sweep undisturbed/twelve lost
"$MICROMET" sweep slurm lost --submit | grep -q '^nothing is left'
"$MICROMET" sweep run lost --rung 0 --index 3 2>log || fail 'a finished task does not end well'
! grep -q begins log || fail 'a finished task trains again'
rm -r lost undisturbed/twelve

echo '--- a script of one'\''s own, of which only the batch shell gets the signal'
undisturbed four
"$MICROMET" sweep prepare four.yaml --out shell
cat >shell.sh <<END
#!/bin/bash
#SBATCH --array=0-3 --output=$work/shell-%a.out --open-mode=append --requeue --signal=B:USR1@90
exec "$MICROMET" sweep run "$work/shell" --requeue
END
job=$(sbatch --parsable shell.sh)
until_true 120 says shell/state/0001.log 'step 20/41'
kill -USR1 "$(processes_of 'sweep run' "$job" 1)"
until_true 60 says shell-1.out "requeueing Slurm job ${job}_1"
until_true 180 are_over "$job"
same_sweep undisturbed/four shell
begun shell-1.out 2
begun shell-3.out 1
rm -r shell undisturbed/four

echo '--- an array for each rung, of which one task is stopped and one never runs: the next rung does its run'
undisturbed halving
"$MICROMET" sweep slurm halving.yaml --out rungs --time 10 --cpus 1 --jobs 2 --submit | tee submitted
job=$(job_of rung-0.sh)
scancel "${job}_5"
grep -qx '#SBATCH --array=0-5%2' rungs/slurm/rung-0.sh
grep -qx '#SBATCH --array=0-2%2' rungs/slurm/rung-1.sh
grep -qx '#SBATCH --array=0%2' rungs/slurm/rung-2.sh
until_true 120 says rungs/state/0003.log 'step 10/20'
# shellcheck disable=SC2046 # numbers
kill -USR1 $(processes_of 'sweep run' "$job" 3) $(processes_of train "$job" 3)
until_true 60 says "rungs/slurm/rung-0-${job}_3.out" "requeueing Slurm job ${job}_3"
until_true 300 are_over "$(job_of rung-2.sh)"
grep -q 'run 0005 begins' rungs/slurm/rung-1-*.out
"$MICROMET" sweep status rungs | grep -q '^6 of 6 runs done (5 halted), 0 failed$'
same_sweep undisturbed/halving rungs
rm -r rungs

echo '--- asynchronous halving: one array'
"$MICROMET" sweep slurm asynchronous.yaml --out async --time 10 --cpus 1 --submit | tee submitted
until_true 300 are_over "$(job_of rung-0.sh)"
"$MICROMET" sweep status async | tee status
grep -q '^6 of 6 runs done (. halted), 0 failed$' status
grep -q 'done .*(rung 2, epoch 4)' status
