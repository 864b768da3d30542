"""A tumour classifier trained with micromet, in PyTorch: InceptionV3 towers, whose pooled features are
concatenated, and a dense head.

    model = load()                                       # from the safetensors file beside this one
    logit = model(*[preprocess(w) for w in windows])     # one window per tower, uint8 RGB (N, WINDOW, WINDOW, 3)
    tumor = logit.sigmoid() >= THRESHOLD

Needs torch, torchvision and safetensors.
"""
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from torchvision.models import inception_v3

@MODEL@


def preprocess(rgb):
    """uint8 RGB (N, H, W, 3) -> float (N, 3, H, W) in [-1, 1]."""
    return torch.as_tensor(rgb).permute(0, 3, 1, 2).float() * (2 / 255) - 1


def split(window):
    """Cuts the towers' windows out of one larger window at the finest level, (N, 3, SIDE, SIDE), and shrinks them.

    Unless it was trained with data.shrink_from: finest, the model knows the slide's own levels, which are not the means
    of the finest one: compare with SPLIT_THRESHOLD."""
    windows = []
    for corner, ratio in zip(CORNERS, RATIOS):
        end = corner + ratio * WINDOW
        windows.append(F.avg_pool2d(window[:, :, corner:end, corner:end], ratio))
    return windows


def leave_padding_out(module, inputs):
    """torchvision's average pools include their padding, zeros; dividing by the share of real pixels excludes it."""
    share = F.avg_pool2d(torch.ones_like(inputs[0][:1, :1]), 3, stride=1, padding=1)
    return inputs[0] / share


def make_tower():
    net = inception_v3(weights=None, init_weights=False, aux_logits=False)
    net.fc = net.dropout = nn.Identity()
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d) and not BATCH_NORM_SCALES:
            module.register_parameter("weight", None)
        if name.endswith(".branch_pool") and not POOLS_COUNT_PADDING:
            module.register_forward_pre_hook(leave_padding_out)
    return net


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        for t in range(TOWERS):
            self.add_module(f"tower{t}", make_tower())
        sizes = [2048 * TOWERS, *HEAD, 1]
        self.head = nn.ModuleList(nn.Linear(*size) for size in zip(sizes, sizes[1:]))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, *windows):
        """Windows as returned by preprocess() or split(), one per tower -> logits (N, 1)."""
        x = torch.cat([getattr(self, f"tower{t}")(window) for t, window in enumerate(windows)], 1)
        for i, layer in enumerate(self.head[:-1]):
            x = layer(x).relu()
            x = self.dropout(x) if i == 0 else x
        return self.head[-1](x)


def load(path=Path(__file__).with_name(WEIGHTS)):
    model = Model()
    model.load_state_dict(load_file(path), strict=True)
    return model.eval()
