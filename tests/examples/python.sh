#!/usr/bin/env bash
# usage: python.sh optuna|mlflow|wandb
#
# The examples in Python of tools/examples, with the Python that $PYTHON names, where it has the package.
set -euo pipefail

: "${MICROMET:?set MICROMET to the program}" "${FIXTURE:?set FIXTURE to the folder of cases/fixture.sh}"
export MICROMET PYTHONDONTWRITEBYTECODE=1
python=${PYTHON:-python3}
if ! "$python" -c "import $1" 2>/dev/null; then
    echo "skipped: $python has no $1"
    exit 77
fi
examples=$(realpath "$(dirname "$0")/../../tools/examples")
work=$(mktemp -d "${TMPDIR:-/tmp}/micromet-$1-XXXXXX")
trap 'rm -rf "$work"' EXIT
cp -R "$FIXTURE"/{config.yaml,slides.csv,slides,packs} "$work"
cd "$work"

auc_of() { sed -n 's/.*"auc":\([0-9.]*\).*/\1/p' "runs/$1/metrics.jsonl" | sort -g | tail -n 1; }

case $1 in
optuna)
    "$python" "$examples/optuna_search.py" config.yaml --trials 4 --rungs 1 2 -- optimizer.momentum=0.8 >found
    "$python" "$examples/optuna_search.py" config.yaml --trials 2 --rungs 1 2 -- optimizer.momentum=0.8 >found
    cat found
    runs=(runs/optuna-*)
    ((${#runs[@]} == 6)) # the journal went on
    grep -q pruned found
    grep -q complete found
    run=$(sed -n 's/^best: \(optuna-[0-9]*\),.*/\1/p' found)
    value=$(sed -n 's/.*validation.auc \([0-9.]*\),.*/\1/p' found)
    [[ $value == "$(printf %.6g "$(auc_of "$run")")" ]]
    ;;
mlflow)
    export MLFLOW_TRACKING_URI=sqlite:///$work/mlflow.db
    "$python" -c 'import sqlalchemy' 2>/dev/null || export MLFLOW_TRACKING_URI=file://$work/mlruns
    "$MICROMET" train config.yaml name=one train.epochs=2
    "$python" "$examples/mlflow_log.py" runs/one
    "$python" "$examples/mlflow_log.py" runs/one # in place of the first
    "$python" - "$(auc_of one)" <<'END'
import sys
import mlflow
runs = mlflow.search_runs(experiment_names=["micromet"], output_format="list")
assert len(runs) == 1, runs
assert runs[0].data.params["optimizer.learning_rate"] == "0.0002", runs[0].data.params
assert runs[0].data.params["data.levels"] == "[1]", runs[0].data.params
history = mlflow.MlflowClient().get_metric_history(runs[0].info.run_id, "validation.auc")
assert [value.step for value in history] == [2, 4], history
assert max(value.value for value in history) == float(sys.argv[1]), history
END
    ;;
wandb)
    export WANDB_MODE=offline WANDB_SILENT=true RUNS=$work/runs
    "$python" "$examples/wandb_run.py" config.yaml optimizer.learning_rate=1e-3
    runs=(runs/wandb-*)
    ((${#runs[@]} == 1))
    records=$(echo wandb/offline-run-*/run-*.wandb)
    grep -aq 'validation.auc' "$records"
    grep -aqF "$(auc_of "$(basename "${runs[0]}")")" "$records"
    ! "$python" "$examples/wandb_run.py" config.yaml optimizer.learning_rate=nonsense
    ;;
*)
    echo "there is no example for $1" >&2
    exit 2
    ;;
esac
