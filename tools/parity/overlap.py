#!/usr/bin/env python3
"""How much of the copying to a GPU is hidden behind kernels.

    nsys stats --report cuda_gpu_trace --format csv TRACE.nsys-rep >trace.csv
    python3 tools/parity/overlap.py trace.csv

Prints the share of the copying time from the host during which a kernel runs; fails below 80 %.
"""
import csv
import sys

SHARE_MIN = 0.8


def column(names, beginning):
    return next(i for i, name in enumerate(names) if name.startswith(beginning))


def read(path):
    """[(start, end)] of copies from the host, and of kernels."""
    copies, kernels = [], []
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if len(row) > 3]
    start, duration, name = (column(rows[0], what) for what in ("Start", "Duration", "Name"))
    for row in rows[1:]:
        span = (float(row[start]), float(row[start]) + float(row[duration]))
        if row[name] in ("[CUDA memcpy Host-to-Device]", "[CUDA memcpy HtoD]"):
            copies.append(span)
        elif not row[name].startswith("[CUDA"):
            kernels.append(span)
    return copies, kernels


def union(spans):
    joined = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    return joined


def common(some, others):
    """Total time covered by both of two unions of intervals."""
    i = j = 0
    time = 0.0
    while i < len(some) and j < len(others):
        time += max(0.0, min(some[i][1], others[j][1]) - max(some[i][0], others[j][0]))
        if some[i][1] < others[j][1]:
            i += 1
        else:
            j += 1
    return time


def main():
    copies, kernels = map(union, read(sys.argv[1]))
    all_time = sum(end - start for start, end in copies)
    if not kernels or all_time == 0:
        sys.exit(f"{sys.argv[1]}: holds {len(copies)} copies and {len(kernels)} kernels")
    # Copies before the first kernel load weights; there is nothing to hide them behind.
    begun = [[max(start, kernels[0][0]), end] for start, end in copies if end > kernels[0][0]]
    share = common(begun, kernels) / max(sum(end - start for start, end in begun), 1.0)
    print(f"{100 * share:.0f} % of the time of copies to the GPU lies beside kernels ({100 * SHARE_MIN:.0f} % at least)")
    return 0 if share >= SHARE_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
