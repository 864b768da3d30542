"""The article's network in PyTorch, for comparison with micromet: two InceptionV3 towers, pooled features side by side, a dense
head to one logit.

As in Keras, average pools exclude padding, and batch norm has epsilon 1e-3 and no trainable scale, unless gamma is
requested. `keras:150` freezes everything before Keras layer 150: convolutions 41, 44, 49, 50 and 51-94 are trained with the
shift of their batch norm, the others use moving statistics. `none` trains all. Needs torch and torchvision.
"""
import types

import torch
from torch import nn
from torchvision.models import inception

TRAINED_VALUES_PER_TOWER = {"keras:150": 17_366_976, "none": 21_768_352}  # without scales
FROZEN_BLOCKS = ("Conv2d_", "maxpool", "Mixed_5", "Mixed_6a", "Mixed_6b")
FROZEN_OF_MIXED_6C = ("branch7x7_1", "branch7x7_2", "branch7x7dbl_1", "branch7x7dbl_2", "branch7x7dbl_3",
                      "branch7x7dbl_4")


class PoolsExcludePadding(types.ModuleType):
    """Replaces torch.nn.functional in torchvision's inception module."""

    def __getattr__(self, name):
        return getattr(torch.nn.functional, name)

    def avg_pool2d(self, x, kernel_size, stride=None, padding=0):
        return torch.nn.functional.avg_pool2d(x, kernel_size, stride, padding, count_include_pad=False)


inception.F = PoolsExcludePadding("functional")


def before_layer_150(name):
    """Whether array `name` of a tower lies before Keras layer 150."""
    if name.startswith("Mixed_6c."):
        return name.split(".")[1] in FROZEN_OF_MIXED_6C
    return name.startswith(FROZEN_BLOCKS)


def is_frozen(name, freeze):
    return freeze == "keras:150" and before_layer_150(name)


def tower(freeze, gamma):
    net = inception.inception_v3(weights=None, init_weights=False, aux_logits=False)
    net.fc = net.dropout = nn.Identity()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.01
            module.weight.requires_grad_(gamma)
    for name, parameter in net.named_parameters():
        if is_frozen(name, freeze):
            parameter.requires_grad_(False)
    trained = sum(p.numel() for name, p in net.named_parameters() if p.requires_grad and not name.endswith("bn.weight"))
    assert trained == TRAINED_VALUES_PER_TOWER[freeze], trained
    return net


class DualInception(nn.Module):
    def __init__(self, dropout=0.3, freeze="keras:150", gamma=False):
        super().__init__()
        self.freeze, self.gamma = freeze, gamma
        self.towers = nn.ModuleList([tower(freeze, gamma), tower(freeze, gamma)])
        self.head = nn.Sequential(nn.Linear(4096, 256), nn.ReLU(), nn.Dropout(dropout), nn.Linear(256, 128),
                                  nn.ReLU(), nn.Linear(128, 1))

    def forward(self, windows):
        return self.head(torch.cat([net(x) for net, x in zip(self.towers, windows)], 1))

    def train(self, mode=True):
        super().train(mode)
        for net in self.towers:
            for name, module in net.named_modules():
                if isinstance(module, nn.BatchNorm2d) and is_frozen(name, self.freeze):
                    module.eval()
        return self

    def trained_parameters(self):
        return [p for p in self.parameters() if p.requires_grad]

    def micromet_names(self):
        """(micromet's name, tensor) in the order in which micromet registers its arrays."""
        arrays = []
        suffixes = ["conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"]
        if not self.gamma:
            suffixes.remove("bn.weight")
        for t, net in enumerate(self.towers):
            state = net.state_dict(keep_vars=True)
            for block in convolution_order():
                for suffix in suffixes:
                    arrays.append((f"tower{t}.{block}.{suffix}", state[f"{block}.{suffix}"]))
        for i, layer in enumerate(m for m in self.head if isinstance(m, nn.Linear)):
            arrays += [(f"head.{i}.weight", layer.weight), (f"head.{i}.bias", layer.bias)]
        return arrays


def convolution_order():
    """Convolutions in Keras' creation order, by torchvision's names."""
    five = "branch1x1 branch5x5_1 branch5x5_2 branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3 branch_pool"
    six = ("branch1x1 branch7x7_1 branch7x7_2 branch7x7_3 branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3 branch7x7dbl_4 "
           "branch7x7dbl_5 branch_pool")
    seven = ("branch1x1 branch3x3_1 branch3x3_2a branch3x3_2b branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a "
             "branch3x3dbl_3b branch_pool")
    blocks = {"Mixed_5b": five, "Mixed_5c": five, "Mixed_5d": five,
              "Mixed_6a": "branch3x3 branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3",
              "Mixed_6b": six, "Mixed_6c": six, "Mixed_6d": six, "Mixed_6e": six,
              "Mixed_7a": "branch3x3_1 branch3x3_2 branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4",
              "Mixed_7b": seven, "Mixed_7c": seven}
    stem = [f"Conv2d_{name}" for name in ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")]
    return stem + [f"{block}.{branch}" for block, branches in blocks.items() for branch in branches.split()]
