#!/usr/bin/env python3
"""The comparison of tools/check-train-step: every element of every array that a training step changes.

    python3 tools/parity/check_step.py TEST_PROGRAM [CASE ...]

For each case of train_step.py: computes the step with PyTorch in float64 and in float32, and with micromet by the test
program. Prints, by class of array, their number and the median and worst relative error
|ours - PyTorch's float64| / |PyTorch's float64|, next to that of PyTorch's float32. Fails if micromet's loss is off by more
than 1e-5, the gradient or update of any array by more than 1e-3, or a fixture in tests/ does not match this step.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch

import make_step_fixture
import tensors
import train_step

LOSS_OFF, RELATIVE_OFF, FIXTURE_OFF = 1e-5, 1e-3, 1e-5
CLASSES = {"conv.weight": "convolutions", "bn.weight": "batch norm scales", "bn.bias": "batch norm shifts",
           "running_mean": "moving means", "running_var": "moving variances", "weight": "head weights", "bias": "head biases"}
FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "fixtures")


def micromet_step(program, case):
    """(loss, {NAME.gradient or NAME.update: values})"""
    with tempfile.TemporaryDirectory() as folder:
        ran = subprocess.run([program, "--filter", f"train_step/{case.name}"], capture_output=True, text=True,
                             env={**os.environ, "MICROMET_STEP_DUMP": folder}, check=False)
        path = os.path.join(folder, f"{case.name}.safetensors")
        if not os.path.exists(path):
            sys.exit(f"{program} wrote no {case.name}.safetensors (exit status {ran.returncode})\n{ran.stdout}{ran.stderr}")
        arrays, metadata = tensors.read(path)
        return float(metadata["loss"]), arrays  # mapped: lives on without its name


def stale_arrays(case, recorded, exact):
    """Names whose values in the fixture are missing or differ from the step computed now."""
    redraws = {name[:-len(".redraws")]: a for name, a in recorded.items() if name.endswith(".redraws")}
    stale = []
    for name, right in make_step_fixture.content(case, redraws, exact).items():
        got = recorded.get(name)
        if got is None or got.shape != right.shape or train_step.relative_error(np.float64(got), right) > FIXTURE_OFF:
            stale.append(name)
    return stale


def class_of(name):
    return next(title for end, title in CLASSES.items() if name.endswith(end))


def errors_by_class(right, values):
    errors = {}
    for name, exact in right.items():
        errors.setdefault(class_of(name), []).append((train_step.relative_error(np.float64(values[name]), exact), name))
    return errors


def print_table(what, ours, torch_float32):
    print(f"  {what:<8} {'arrays':>20} {'median':>9} {'worst':>9}  {'PyTorch float32':>15}  worst array")
    for title, rows in ours.items():
        worst, name = max(rows)
        print(f"  {title:<20} {len(rows):>8} {np.median([r[0] for r in rows]):>9.1e} {worst:>9.1e}  "
              f"{max(torch_float32[title])[0]:>15.1e}  {name}")


def first_step_error(right, values):
    """Adam's first update, from a zero state: arrays beyond the bound, and the worst error."""
    def update(g):
        return g / (np.abs(g) + 1e-7)
    errors = [train_step.relative_error(update(np.float64(values[name])), update(g)) for name, g in right.items()]
    return f"{sum(e > RELATIVE_OFF for e in errors)} of {len(errors)} arrays beyond {RELATIVE_OFF:g}, worst {max(errors):.1e}"


def check(case, program):
    recorded, metadata = tensors.read(os.path.join(FIXTURES, f"train_step_{case.name}.safetensors"))
    redraws = {name[:-len(".redraws")]: a for name, a in recorded.items() if name.endswith(".redraws")}
    exact = train_step.step(case, redraws, torch.float64)
    single = train_step.step(case, redraws, torch.float32, exact.norms)
    loss, arrays = micromet_step(program, case)
    ours = {what: {n: arrays[f"{n}.{what}"] for n in right}
            for what, right in (("gradient", exact.gradients), ("update", exact.updates))}
    print(f"{case.name}: {metadata['freeze']}, {case.window} px, batch {case.batch}, {exact.active:.0%} of the ReLUs active, "
          f"{metadata['redrawn']} filters redrawn")
    off = abs(loss - exact.loss)
    print(f"  loss {exact.loss:.8f}, off by {off:.1e} (PyTorch float32: {abs(single.loss - exact.loss):.1e})")
    faults = [f"loss off by {off:.1e}"] if not off <= LOSS_OFF else []
    for what, right, other in (("gradient", exact.gradients, single.gradients), ("update", exact.updates, single.updates)):
        errors = errors_by_class(right, ours[what])
        print_table(what, errors, errors_by_class(right, other))
        faults += [f"{what} of {name} off by {e:.1e}" for rows in errors.values() for e, name in rows if not e <= RELATIVE_OFF]
    print("  not compared, Adam's first step, from a state of zero:")
    for whose, gradients in (("micromet", ours["gradient"]), ("PyTorch float32", single.gradients)):
        print(f"    {whose}: {first_step_error(exact.gradients, gradients)}")
    faults += [f"fixture: {name} is not of this step" for name in stale_arrays(case, recorded, exact)]
    return [f"{case.name}: {fault}" for fault in faults]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", help="the test program, build/tests/test_train_step")
    parser.add_argument("cases", nargs="*", help="default: all")
    options = parser.parse_args()
    faults = []
    for case in train_step.CASES:
        if not options.cases or case.name in options.cases:
            faults += check(case, os.path.abspath(options.program))
    print("\n".join(faults) if faults else f"every array within {RELATIVE_OFF:g}, every loss within {LOSS_OFF:g}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
