#!/usr/bin/env python3
"""Brings run folders to MLflow: pip install mlflow-skinny

The keys of config.yaml become parameters, the lines of metrics.jsonl metrics, by their own steps. A run that was brought
there before is replaced. MLFLOW_TRACKING_URI says where to, as usual.
"""
import argparse
import json
from pathlib import Path

import mlflow
import yaml

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("runs", nargs="+", type=Path, help="run folders, such as runs/sweep/runs/*")
arguments.add_argument("--experiment", default="micromet")
arguments = arguments.parse_args()


def flatten(section, prefix=""):
    for key, value in section.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def metrics(folder):
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        line = json.loads(line)
        step, kind = line.pop("step"), line.pop("kind")
        for key, value in line.items():
            if isinstance(value, float):
                yield mlflow.entities.Metric(f"{kind}.{key}", value, timestamp=0, step=step)


client = mlflow.MlflowClient()
experiment = mlflow.set_experiment(arguments.experiment).experiment_id
for folder in arguments.runs:
    where = str(folder.resolve())
    for run in client.search_runs([experiment], filter_string=f"tags.folder = '{where}'"):
        client.delete_run(run.info.run_id)
    run = client.create_run(experiment, run_name=folder.name, tags={"folder": where}).info.run_id
    for key, value in flatten(yaml.safe_load((folder / "config.yaml").read_text())):
        client.log_param(run, key, value)
    values = list(metrics(folder))
    for first in range(0, len(values), 1000):
        client.log_batch(run, metrics=values[first:first + 1000])
    client.log_artifact(run, str(folder / "config.yaml"))
    client.set_terminated(run)
    print(f"{folder}: {len(values)} values in run {run}")
