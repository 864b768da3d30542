"""One training step of the article's network in PyTorch, from a start that micromet reproduces: the cases that
tests/test_train_step.c and tools/check-train-step compare.

Nothing large is stored: both sides compute the start by the same formulas from Philox streams (seed, epoch, sample,
purpose). Array i is the i-th in micromet's order; values are in torch's order:
  weights     model_randomize(seed): array i draws from (seed, 0, i, init); convolutions sqrt(2/fan_in) * normal, dense layers
              uniform within sqrt(6/(inputs+outputs)). The a-th redraw of filter (or dense row) r comes from
              (seed, REDRAW + a, 4096*i + r, test). The mean of each filter is subtracted
  vectors     array i draws uniformly from (seed, 1, i, test): running_mean in [-0.2, 0.2), running_var in [0.5, 1.5),
              bn.weight in [0.75, 1.25), bn.bias in [0.3, 0.7), head biases in [-0.1, 0.1)
  pixels      sample n of tower t, (window, window, 3) uint8: byte k of (seed, 2, t*batch + n, test), taken from its 32-bit
              words low byte first, halved, + ((x*(n+1) + y*(t+2) + 40*channel) & 127); the network sees 2*pixel/255 - 1
  labels      1, 0, 1, 0 ...
  optimizer   Adam's state after one earlier step: m = (1-beta1)*g, v = (1-beta2)*g^2 with g = scale * (u +
              0.5*sign(u)), u uniform in [-1, 1) from (seed, 3, i, test), scale the root mean square of the array's
              gradient in this step. The step compared is Adam's second

Why the start is chosen so. A training step depends discontinuously on rounding errors. If the input of a ReLU is
within rounding of zero, or the two largest inputs of a max pool are that close, rounding decides where the gradient of
one position goes, which alone changes a layer's gradient by up to a few percent. Adam's first step, lr * g/(|g| +
1e-7), is the sign of g, which flips wherever |g| is below the gradient's rounding error: even without the other
discontinuities PyTorch's float32 then differs from its float64 by more than 1e-3 in 78 of the article's 198 arrays,
and by up to 30 % in short arrays of the other case. The start avoids these discontinuities, and nothing else:
  - filters are redrawn until every input of a ReLU that passes gradients, and every pair of largest values of a max pool,
    keeps a distance beyond float32's errors (`margin`; one filter in ten to one in five is redrawn). The share of active
    units does not change: it is about two thirds, as the fixture records
  - the step is Adam's second, about (0.9 g0 + g)/sqrt(g0^2 + g^2), in which this step's gradient g weighs as much as the
    earlier one. The gradients themselves are compared too, against the same bound
  - filters of zero mean and positive shifts keep the rounding errors of batch norm small
float32_error in the fixture is the error of PyTorch's own float32 step from the same start.
"""
import dataclasses

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import philox
from dual_inception import DualInception, is_frozen

BETAS, STEP = (0.9, 0.999), 2
VECTORS, PIXELS, EARLIER, SKETCH, REDRAW = 1, 2, 3, 4, 16  # epochs of the streams
SKETCH_SIZE = 64
POOLED = {"Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d.branch1x1", "Mixed_5d.branch5x5_2", "Mixed_5d.branch3x3dbl_3",
          "Mixed_5d.branch_pool", "Mixed_6e.branch1x1", "Mixed_6e.branch7x7_3", "Mixed_6e.branch7x7dbl_5",
          "Mixed_6e.branch_pool"}  # units whose outputs go to a 3x3 max pool of stride 2


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    freeze: str
    gamma: bool
    window: int
    batch: int
    learning_rate: float
    epsilon: float  # Adam's
    seed: int = 1703


# The article's own step; and one in which all trains, scales too, and Adam's epsilon is of the size of many a gradient, so
# that its place in the formula shows. Its learning rate is Adam's default: scales are near 1, where float32 rounds to 6e-8.
CASES = [Case("article", "keras:150", False, 80, 16, 2e-4, 1e-7), Case("unfrozen", "none", True, 107, 16, 1e-3, 1e-3)]


# --- the start --------------------------------------------------------------------------------------------------------

def draw_filters(case, index, shape, stream=None, rows=None):
    """Filters (or a dense layer's rows) of array `index`; or, from another stream, `rows` of them."""
    epoch, sample, purpose = stream or (0, index, philox.PURPOSE_INIT)
    drawn = (rows or shape[0], *shape[1:])
    count = int(np.prod(drawn))
    if len(shape) == 2:
        limit = np.float32(np.sqrt(6 / (shape[0] + shape[1])))
        return philox.uniform(case.seed, epoch, sample, purpose, count, -limit, limit).reshape(drawn)
    deviation = np.float32(np.sqrt(2 / np.prod(shape[1:])))
    values = (deviation * philox.normal(case.seed, epoch, sample, purpose, count)).reshape(drawn)
    return values - values.mean((1, 2, 3), dtype=np.float64, keepdims=True).astype(np.float32)


def redraw_filter(case, index, shape, row, attempt):
    stream = (REDRAW + int(attempt), 4096 * index + int(row), philox.PURPOSE_TEST)
    return draw_filters(case, index, shape, stream, 1)[0]


def draw_vector(case, name, index, count):
    ranges = {"running_mean": (-0.2, 0.2), "running_var": (0.5, 1.5), "bn.weight": (0.75, 1.25), "bn.bias": (0.3, 0.7),
              "bias": (-0.1, 0.1)}
    low, high = next(limits for end, limits in ranges.items() if name.endswith(end))
    return philox.uniform(case.seed, VECTORS, index, philox.PURPOSE_TEST, count, low, high)


def build(case, redraws):
    """The network in float32; redraws: {name: how often each filter is redrawn}."""
    net = DualInception(0, case.freeze, case.gamma)
    with torch.no_grad():
        for index, (name, tensor) in enumerate(net.micromet_names()):
            shape = tuple(tensor.shape)
            if len(shape) == 1:
                values = draw_vector(case, name, index, shape[0])
            else:
                values = draw_filters(case, index, shape)
                for row in np.flatnonzero(redraws.get(name, 0)):
                    values[row] = redraw_filter(case, index, shape, row, redraws[name][row])
            tensor.copy_(torch.from_numpy(values))
    return net


def names(case):
    """In micromet's order."""
    return [name for name, _ in DualInception(0, case.freeze, case.gamma).micromet_names()]


def windows(case, tower):
    size = case.window
    pixels = np.empty((case.batch, size, size, 3), np.uint8)
    y, x, channel = np.meshgrid(np.arange(size), np.arange(size), np.arange(3), indexing="ij")
    for n in range(case.batch):
        words = philox.words(case.seed, PIXELS, tower * case.batch + n, philox.PURPOSE_TEST, pixels[n].size // 4 + 1)
        noise = words.astype("<u4").view(np.uint8)[: pixels[n].size].reshape(pixels[n].shape)
        pixels[n] = (noise >> 1) + (x * (n + 1) + y * (tower + 2) + 40 * channel & 127)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).double() * 2 / 255 - 1


def earlier_state(case, index, count, norm):
    """Adam's (m, v) after one step with gradients of about this norm, float32."""
    scale = np.float32(float(norm) / np.sqrt(count))
    u = philox.uniform(case.seed, EARLIER, index, philox.PURPOSE_TEST, count, -1, 1)
    g = scale * (u + np.copysign(np.float32(0.5), u))
    return np.float32(1 - BETAS[0]) * g, np.float32(1 - BETAS[1]) * g * g


# --- redrawing what is too near a discontinuity -----------------------------------------------------------------------

def margin(values):
    """Required distance from a discontinuity for a channel of so many values. Rounding errors grow with depth while
    channels get smaller: in float32 they are 1e-6 in the stem and 1e-4 in the last block."""
    return min(2e-3, 0.4 / values)


def too_near(inputs, pooled):
    """Channels of a ReLU's inputs (N, C, H, W) with a value near zero, or with two nearly equal maxima in a max pool."""
    limit = margin(inputs.numel() // inputs.shape[1])
    near = inputs.abs().amin((0, 2, 3)) < limit
    if pooled:
        h, w = ((size - 3) // 2 + 1 for size in inputs.shape[2:])
        first = second = torch.full((), -torch.inf, dtype=inputs.dtype)
        for y, x in np.ndindex(3, 3):  # the two largest of each window
            value = inputs[:, :, y:y + 2 * h - 1:2, x:x + 2 * w - 1:2]
            first, second = torch.maximum(first, value), torch.maximum(second, torch.minimum(first, value))
        near |= ((first > 0) & (first - second < limit)).any(3).any(2).any(0)
    return near


def settle(case):
    """{name of a weight array: how often each of its filters is redrawn}, found in float64 from the first layer on."""
    net = build(case, {}).double().train()
    places = {id(tensor): (index, name) for index, (name, tensor) in enumerate(net.micromet_names())}
    redraws = {}

    def settle_layer(weight, inputs_of, pooled):
        index, name = places[id(weight)]
        attempts = np.zeros(len(weight), np.uint8)
        rows = torch.arange(len(weight))
        while True:
            rows = rows[too_near(inputs_of(rows), pooled)]
            if len(rows) == 0:
                break
            for row in rows.tolist():
                attempts[row] += 1
                weight[row] = torch.from_numpy(redraw_filter(case, index, tuple(weight.shape), row, attempts[row]))
        if attempts.any():
            redraws[name] = attempts

    def settle_unit(unit, name):
        conv, bn = unit.conv, unit.bn

        def hook(_, args):
            def inputs_of(rows):
                y = functional.conv2d(args[0], conv.weight[rows], None, conv.stride, conv.padding)
                return functional.batch_norm(y, None, None, bn.weight[rows], bn.bias[rows], True, 0, bn.eps)
            settle_layer(conv.weight, inputs_of, name in POOLED)
        unit.register_forward_pre_hook(hook)

    def settle_dense(layer):
        def hook(_, args):
            settle_layer(layer.weight, lambda rows: functional.linear(
                args[0], layer.weight[rows], layer.bias[rows])[:, :, None, None], False)
        layer.register_forward_pre_hook(hook)

    for tower in net.towers:
        for name, module in tower.named_modules():
            if hasattr(module, "conv") and hasattr(module, "bn") and not is_frozen(name, case.freeze):
                settle_unit(module, name)
    for layer in [m for m in net.head if isinstance(m, nn.Linear)][:-1]:
        settle_dense(layer)
    with torch.no_grad():
        net([windows(case, 0), windows(case, 1)])
    return redraws


# --- the step ---------------------------------------------------------------------------------------------------------

def watch_batch_norms(net):
    """Filled by a forward pass, for each batch norm that trains: values a channel, and how many of all are above zero."""
    seen = {}

    def hook(module, _, out):
        if module.training:
            seen[module] = (out.numel() // out.shape[1], int((out > 0).sum()), out.numel())
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(hook)
    return seen


def make_variance_biased(net, seen, old):
    """Moving variance without Bessel's correction, as in Keras; PyTorch's has it."""
    for t, tower in enumerate(net.towers):
        for name, module in tower.named_modules():
            if module in seen:
                kept, m = 0.99 * old[f"tower{t}.{name}.running_var"], seen[module][0]
                module.running_var.copy_(kept + (module.running_var - kept) * (m - 1) / m)


def adam(case, net, norms):
    optimizer = torch.optim.Adam(net.trained_parameters(), case.learning_rate, BETAS, case.epsilon)
    for index, (name, tensor) in enumerate(net.micromet_names()):
        if tensor.requires_grad:
            m, v = (torch.from_numpy(s).reshape(tensor.shape).to(tensor.dtype)
                    for s in earlier_state(case, index, tensor.numel(), norms[name]))
            optimizer.state[tensor] = {"step": torch.tensor(float(STEP - 1)), "exp_avg": m, "exp_avg_sq": v}
    return optimizer


@dataclasses.dataclass
class Result:
    loss: float
    logits: np.ndarray
    inference_logits: np.ndarray
    gradients: dict  # by name, float64, flat
    updates: dict  # of moving statistics too
    norms: dict  # of the gradients: the scale of the earlier step's
    active: float  # share of ReLU inputs, in what trains of the towers, that are above zero


def step(case, redraws, dtype, norms=None):
    """`norms`: float32 by name, None = from this step's own gradients."""
    net = build(case, redraws).to(dtype)
    inputs = [windows(case, t).to(dtype) for t in (0, 1)]
    labels = torch.tensor([1, 0] * (case.batch // 2), dtype=dtype)
    with torch.no_grad():
        inference = net.eval()(inputs).flatten()
    old = {name: tensor.detach().clone() for name, tensor in net.train().micromet_names()}
    seen = watch_batch_norms(net)
    logits = net(inputs).flatten()
    loss = functional.binary_cross_entropy_with_logits(logits, labels)
    loss.backward()
    arrays = net.micromet_names()
    gradients = {name: flat(t.grad) for name, t in arrays if t.requires_grad}
    if norms is None:
        norms = {name: np.float32(np.linalg.norm(g)) for name, g in gradients.items()}
    adam(case, net, norms).step()
    with torch.no_grad():
        make_variance_biased(net, seen, old)
    updates = {name: flat(t) - flat(old[name]) for name, t in arrays if t.requires_grad or not torch.equal(t, old[name])}
    active = sum(above for _, above, _ in seen.values()) / sum(count for _, _, count in seen.values())
    return Result(loss.item(), logits.detach().double().numpy(), inference.double().numpy(), gradients, updates, norms,
                  active)


def flat(tensor):
    return tensor.detach().double().flatten().numpy().copy()


# --- comparing --------------------------------------------------------------------------------------------------------

def relative_error(values, right):
    return float(np.linalg.norm(values - right) / np.linalg.norm(right))


def sketch(case, index, values):
    """The array itself if it is small, else a count sketch of SKETCH_SIZE sums: element e is added to the sum given by the
    lowest bits of its word of (seed, 4, index, test), negated if the highest bit is set. The expected squared norm of a
    sketch is that of the array (Charikar et al. 2002). Sketches are linear, so this holds for differences too: relative
    errors are estimated with a standard deviation of 9 %."""
    if values.size <= SKETCH_SIZE:
        return values
    words = philox.words(case.seed, SKETCH, index, philox.PURPOSE_TEST, values.size)
    signed = np.where(words >> 31, -values, values)
    return np.bincount(words & (SKETCH_SIZE - 1), signed, SKETCH_SIZE)
