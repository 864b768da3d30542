#!/usr/bin/env python3
"""Record training steps of the article's network, computed by PyTorch in double precision, as small fixtures.

    python3 tools/parity/make_step_fixture.py tests/fixtures [CASE ...]

Writes FOLDER/train_step_CASE.safetensors for every case of train_step.py, which says what is in them; needs numpy, torch
and torchvision (Debian: python3-torch python3-torchvision; or pip install torch torchvision in a venv). A few minutes.

A fixture holds, for every array that changes, NAME.gradient and NAME.update, each as [norm, sketch...] in float32 (moving
statistics have an update only: momentum 0.99, biased variance); NAME.redraws, how often each filter is redrawn, where any
is; step.logits in training mode and step.inference_logits in inference mode before the step; and as metadata the case, the
loss, and by what PyTorch's own float32 step is off.
"""
import argparse
import os

import numpy as np
import torch

import tensors
import train_step


def norm_and_sketch(case, index, values):
    return np.float32([np.linalg.norm(values), *train_step.sketch(case, index, values)])


def content(case, redraws, result):
    arrays = {f"{name}.redraws": attempts for name, attempts in redraws.items()}
    for index, name in enumerate(train_step.names(case)):
        for what, values in (("gradient", result.gradients.get(name)), ("update", result.updates.get(name))):
            if values is not None:
                arrays[f"{name}.{what}"] = norm_and_sketch(case, index, values)
    arrays["step.logits"] = np.float32(result.logits)
    arrays["step.inference_logits"] = np.float32(result.inference_logits)
    return arrays


def float32_error(exact, single):
    worst = {}
    for what in ("gradients", "updates"):
        right, values = getattr(exact, what), getattr(single, what)
        errors = {name: train_step.relative_error(values[name], right[name]) for name in right}
        name = max(errors, key=errors.get)
        worst[what] = f"{what} {errors[name]:.2e} ({name})"
    return f"loss {abs(single.loss - exact.loss):.1e}, {worst['gradients']}, {worst['updates']}"


def record(case, path):
    redraws = train_step.settle(case)
    exact = train_step.step(case, redraws, torch.float64)
    single = train_step.step(case, redraws, torch.float32, exact.norms)
    facts = {
        "made_by": f"tools/parity/make_step_fixture.py with PyTorch {torch.__version__.split('+')[0]}, float64",
        "seed": case.seed, "freeze": case.freeze, "gamma": int(case.gamma), "window": case.window, "batch": case.batch,
        "learning_rate": case.learning_rate, "beta1": train_step.BETAS[0], "beta2": train_step.BETAS[1],
        "epsilon": case.epsilon, "step": train_step.STEP, "arrays": len(exact.updates), "loss": repr(exact.loss),
        "active": f"{exact.active:.3f}", "redrawn": sum(np.count_nonzero(a) for a in redraws.values()),
        "float32_error": float32_error(exact, single),
    }
    tensors.write(path, content(case, redraws, exact), facts)
    print(f"{path}: loss {facts['loss']}, {facts['arrays']} arrays, {facts['redrawn']} filters redrawn, "
          f"{facts['active']} of the ReLUs active; PyTorch's float32 is off by: {facts['float32_error']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("cases", nargs="*", help="default: all")
    options = parser.parse_args()
    for case in train_step.CASES:
        if not options.cases or case.name in options.cases:
            record(case, os.path.join(options.folder, f"train_step_{case.name}.safetensors"))


if __name__ == "__main__":
    main()
