"""Stain augmentation against scikit-image; tools/check-stain says how.

check_stain.py PROGRAM
"""
import subprocess
import sys

import numpy as np
from skimage.color import hed2rgb, rgb2hed

BOUNDS = (0.03, 0.1, 1)  # "lighter", "light" and "strong"
SIDES = (1, 7, 80, 81, 299)
ALLOWED = 1e-5


def window_of(random, side, kind):
    """Bytes of RGB: noise; colours of tissue; almost white; almost black."""
    if kind == 0:
        return random.integers(0, 256, (side, side, 3), dtype=np.uint8)
    middle = [(150, 90, 160), (248, 246, 247), (6, 5, 8)][kind - 1]
    return np.clip(random.normal(middle, (45, 6, 4)[kind - 1], (side, side, 3)), 0, 255).astype(np.uint8)


def expected(pixels, sigma, beta):
    """As stainlib computes, until it goes back to bytes."""
    rgb = pixels.astype(np.float64) / 255
    if not 0.05 <= rgb.mean() <= 0.95:
        return rgb
    hed = rgb2hed(rgb)
    for stain in range(3):
        hed[..., stain] *= 1 + np.float64(sigma[stain])
        hed[..., stain] += np.float64(beta[stain])
    return np.clip(hed2rgb(hed), 0, 1)


def micromet(program, windows):
    request = b"".join(np.int32(pixels.shape[0]).tobytes() + sigma.tobytes() + beta.tobytes() + pixels.tobytes()
                       for pixels, sigma, beta in windows)
    answer = subprocess.run([program], input=request, stdout=subprocess.PIPE, check=True).stdout
    values = np.frombuffer(answer, dtype=np.float32)
    at = 0
    for pixels, _, _ in windows:
        yield (values[at:at + pixels.size].reshape(pixels.shape).astype(np.float64) + 1) / 2
        at += pixels.size


def main(program):
    random = np.random.default_rng(1)
    worst = 0
    for bound in BOUNDS:
        windows = [(window_of(random, side, kind), random.uniform(-bound, bound, 3).astype(np.float32),
                    random.uniform(-bound, bound, 3).astype(np.float32))
                   for side in SIDES for kind in range(4) for _ in range(4)]
        largest = max(np.abs(ours - expected(*window)).max() for ours, window in zip(micromet(program, windows), windows))
        print(f"augment.hed {bound:<5} {len(windows)} windows: largest difference {largest:.2e}")
        worst = max(worst, largest)
    return 0 if worst <= ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
