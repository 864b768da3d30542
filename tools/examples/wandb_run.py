#!/usr/bin/env python3
"""usage: wandb_run.py CONFIG key=value...: one training as a run of Weights & Biases (pip install wandb)

What wandb-sweep.yaml has the agent call; it works without one too, and with WANDB_MODE=offline without a network.
"""
import json
import os
import subprocess
import sys
from pathlib import Path

import wandb

INTERRUPTED = 75  # stopped by a signal, with all work kept

config, overrides = sys.argv[1], sys.argv[2:]
folder = Path(os.environ.get("RUNS", "runs")).resolve()
run = wandb.init(project="micromet", config=dict(override.split("=", 1) for override in overrides))
run.define_metric("*", step_metric="step")
training = subprocess.run([os.environ.get("MICROMET", "micromet"), "train", config, *overrides, f"train.run={folder}",
                           f"name=wandb-{run.id}", "train.resume=auto", "--print-metric=validation.auc"],
                          stdout=subprocess.PIPE, text=True)
if training.stdout.strip():
    for line in (folder / f"wandb-{run.id}" / "metrics.jsonl").read_text().splitlines():
        line = json.loads(line)
        values = {f"{line['kind']}.{key}": value for key, value in line.items() if isinstance(value, float)}
        run.log({"step": line["step"], **values})
    run.summary["validation.auc"] = float(training.stdout)  # the best, by which the sweep goes
run.finish(exit_code=training.returncode)
sys.exit(training.returncode)
