#!/usr/bin/env python3
"""A search by Optuna's ask and tell, with pruning: pip install optuna

Each trial is a run of its own, which is trained up to one rung after the other: --until-epoch stops it early, its
schedule stays that of all epochs. Trials are kept in JOURNAL, a plain file, so that a search can be gone on with, and
several processes may share it.
"""
import argparse
import os
import subprocess
import sys

import optuna
from optuna.storages.journal import JournalFileBackend, JournalStorage

INTERRUPTED = 75  # stopped by a signal, with all work kept

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("config")
arguments.add_argument("--trials", type=int, default=20)
arguments.add_argument("--rungs", type=int, nargs="+", default=[1, 3, 9], help="epochs after which a trial may be pruned")
arguments.add_argument("--journal", default="optuna.journal")
arguments.add_argument("overrides", nargs="*", help="key=value for all trials")
arguments = arguments.parse_intermixed_args()


def train(trial, epochs):
    """The best validation AUC of the trial's first epochs, or None if the training failed."""
    done = subprocess.run(
        [os.environ.get("MICROMET", "micromet"), "train", arguments.config, *arguments.overrides,
         f"optimizer.learning_rate={trial.params['learning_rate']:.6g}", f"model.dropout={trial.params['dropout']:.4g}",
         f"train.epochs={arguments.rungs[-1]}", f"name=optuna-{trial.number:04d}", "train.resume=auto",
         f"--until-epoch={epochs}", "--print-metric=validation.auc"],
        stdout=subprocess.PIPE, text=True)
    if done.returncode == INTERRUPTED:
        sys.exit(INTERRUPTED)
    return float(done.stdout) if done.stdout.strip() else None


study = optuna.create_study(direction="maximize", study_name="micromet", load_if_exists=True,
                            storage=JournalStorage(JournalFileBackend(arguments.journal)),
                            sampler=optuna.samplers.TPESampler(seed=1),
                            pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3))
for _ in range(arguments.trials):
    trial = study.ask()
    trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True)
    trial.suggest_float("dropout", 0.0, 0.6)
    state = optuna.trial.TrialState.COMPLETE
    for epochs in arguments.rungs:
        auc = train(trial, epochs)
        if auc is None:
            state = optuna.trial.TrialState.FAIL
            break
        trial.report(auc, epochs)
        if epochs != arguments.rungs[-1] and trial.should_prune():
            state = optuna.trial.TrialState.PRUNED
            break
    study.tell(trial, auc if state == optuna.trial.TrialState.COMPLETE else None, state=state)

states = [trial.state.name.lower() for trial in study.get_trials()]
print(", ".join(f"{states.count(name)} {name}" for name in sorted(set(states))))
print(f"best: optuna-{study.best_trial.number:04d}, validation.auc {study.best_value:.6g}, {study.best_params}")
