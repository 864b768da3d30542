#!/usr/bin/env python3
"""Compare two dumps of a training step (tests/test_train_step's MICROMET_STEP_DUMP), element by element.

    python3 tools/parity/compare_steps.py ONE.safetensors OTHER.safetensors

Prints the worst relative error |one - other| / |other| of an array; fails beyond 1e-3, or 1e-5 of the loss. Needs numpy.
"""
import sys

import numpy as np

import tensors

LOSS_OFF, RELATIVE_OFF = 1e-5, 1e-3


def main():
    (one, one_says), (other, other_says) = (tensors.read(path) for path in sys.argv[1:3])
    if set(one) != set(other):
        sys.exit(f"not of the same arrays: {sorted(set(one) ^ set(other))[:3]}")
    errors = []
    for name, right in other.items():
        right = np.float64(right)
        error, norm = np.linalg.norm(np.float64(one[name]) - right), np.linalg.norm(right)
        errors.append((error / norm if norm > 0 else error, name))
    worst, name = max(errors)
    off = abs(float(one_says["loss"]) - float(other_says["loss"]))
    print(f"{len(errors)} arrays, worst relative error {worst:.1e} ({name}); losses differ by {off:.1e}")
    return 0 if worst <= RELATIVE_OFF and off <= LOSS_OFF else 1


if __name__ == "__main__":
    sys.exit(main())
