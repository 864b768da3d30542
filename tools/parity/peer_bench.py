#!/usr/bin/env python3
"""The PyTorch side of tools/bench-peer: time the article's network, or print the table of both sides' results.

    python3 tools/parity/peer_bench.py --px 80 --batch 32 --threads 2 --seconds 5

prints {"what":"infer",...} and {"what":"train",...}, one JSON object a line, as `micromet bench --network --json` does.
A pair is one window per tower. Needs torch and torchvision.
"""
import argparse
import json
import os
import statistics
import sys
import time

WARM_UP = 5  # runs; the first ones compile and record
TOGETHER = 8  # runs queued on a GPU before waiting for it
SHARE_MIN = 0.9  # smallest share of the processors that other programs must leave to a measurement


def processor_seconds():
    """Idle and total processor seconds of the machine since it started."""
    with open("/proc/stat", encoding="ascii") as lines:
        ticks = [int(t) for t in lines.readline().split()[1:9]]
    return (ticks[3] + ticks[4]) / os.sysconf("SC_CLK_TCK"), sum(ticks) / os.sysconf("SC_CLK_TCK")


def rate(work, wait, batch, seconds):
    for _ in range(WARM_UP):
        work()
    wait()
    (idle, all_s), own, started, count = processor_seconds(), time.process_time(), time.perf_counter(), 0
    while count < 3 or time.perf_counter() - started < seconds:
        work()
        count += 1
        if count % TOGETHER == 0:
            wait()
    wait()
    elapsed = time.perf_counter() - started
    idle, all_s = (now - then for now, then in zip(processor_seconds(), (idle, all_s)))
    others = (all_s - idle - (time.process_time() - own)) / elapsed / (os.cpu_count() or 1)
    if others > 1 - SHARE_MIN:
        print(f"warning: other programs are running, on {100 * others:.0f} % of the processors", file=sys.stderr)
    return count * batch / elapsed


def adam(parameters):
    import torch
    try:
        return torch.optim.Adam(parameters, 2e-4, eps=1e-7, fused=True)
    except (RuntimeError, TypeError):  # no fused Adam on processors before PyTorch 2.4
        return torch.optim.Adam(parameters, 2e-4, eps=1e-7)


def measure(options):
    import torch
    from dual_inception import DualInception
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    net = DualInception().to(options.device, memory_format=torch.channels_last)
    size = (options.batch, 3, options.px, options.px)
    windows = [torch.rand(size).mul(2).sub(1).to(options.device, memory_format=torch.channels_last) for _ in range(2)]
    labels = torch.randint(0, 2, (options.batch, 1)).float().to(options.device)
    optimizer = adam(net.trained_parameters())
    run = torch.compile(net, mode=options.compile) if options.compile else net
    wait = torch.cuda.synchronize if options.device == "cuda" else lambda: None

    def precision():
        return torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16")

    def infer():
        with torch.inference_mode(), precision():
            run(windows)

    def train():
        optimizer.zero_grad(set_to_none=True)
        with precision():
            logits = run(windows)
        torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), labels).backward()
        optimizer.step()

    for what, work in (("infer", infer), ("train", train)):
        net.train(what == "train")
        pairs_per_s = rate(work, wait, options.batch, options.seconds)
        print(json.dumps({"what": what, "px": options.px, "batch": options.batch, "threads": options.threads,
                          "pairs_per_s": round(pairs_per_s, 3), "torch": torch.__version__}), flush=True)


def summary(path):
    rates, version, busy = {}, "", 0
    with open(path, encoding="ascii") as lines:
        for line in lines:
            program, result = line.split(" ", 1)
            if program == "busy":
                busy += 1
                continue
            result = json.loads(result)
            version = result.get("torch", version)
            if result["what"] in ("infer", "train"):
                key = (result["px"], result["batch"], result["threads"], result["what"])
                rates.setdefault(key, {}).setdefault(program, []).append(result["pairs_per_s"])
    print(f"pairs/s, medians (lowest .. highest); PyTorch {version}")
    print(f"{'px':>5} {'batch':>5} {'threads':>7} {'what':<6} {'micromet':>24} {'PyTorch':>24} {'ratio':>6}")
    for key, both in sorted(rates.items()):
        ours, theirs = both["micromet"], both["pytorch"]
        cells = [f"{statistics.median(r):.1f} ({min(r):.1f} .. {max(r):.1f})" for r in (ours, theirs)]
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(f"{key[0]:>5} {key[1]:>5} {key[2]:>7} {key[3]:<6} {cells[0]:>24} {cells[1]:>24} {ratio:>6.2f}")
    if busy:
        print(f"Other programs ran during {busy} of the turns: these figures are not worth quoting.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--px", type=int, default=80)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16: autocast")
    parser.add_argument("--compile", metavar="MODE", choices=("default", "reduce-overhead", "max-autotune"))
    parser.add_argument("--summary", metavar="FILE", help="table of lines 'PROGRAM JSON'")
    options = parser.parse_args()
    if options.summary:
        summary(options.summary)
    else:
        measure(options)


if __name__ == "__main__":
    main()
