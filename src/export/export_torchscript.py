"""Makes torchscript_model.pt, the file that WSInfer and QuPath run, from model.safetensors beside this script.

    python make_torchscript.py

The model cuts the patch (N, 3, SIDE, SIDE), scaled to [-1, 1] by the transform in config.json, into the towers' windows.
It has two logits, 0 and the tumour's: their softmax, which WSInfer and QuPath apply, is the tumour's probability.
Its coarser towers see means of the finest level, while the model, unless data.shrink_from was finest, was trained on the
slide's own levels: compare with model.SPLIT_THRESHOLD, if it was measured (`micromet evaluate --single-input`).
Needs torch, torchvision and safetensors.
"""
import os
from pathlib import Path

import torch
from torch import nn

import model


class Patch(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model.load()

    def forward(self, patch):
        logit = self.model(*model.split(patch))
        return torch.cat([torch.zeros_like(logit), logit], 1)


folder = Path(__file__).parent
with torch.inference_mode():
    traced = torch.jit.trace(Patch().eval(), torch.zeros(2, 3, model.SIDE, model.SIDE), check_trace=False)
torch.jit.save(traced, folder / "torchscript_model.pt.partial")
os.replace(folder / "torchscript_model.pt.partial", folder / "torchscript_model.pt")
print("written:", folder / "torchscript_model.pt")
