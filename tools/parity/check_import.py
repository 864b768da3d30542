#!/usr/bin/env python3
"""The comparison of tools/check-import: features of imported weights against those of the library that wrote them.

    KERAS_BACKEND=torch python3 tools/parity/check_import.py FEATURES_PROGRAM [keras] [torchvision] [timm]
"""
import argparse
import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import torch

SIZES = (80, 299)  # px
WINDOWS = 2
RELATIVE_OFF = 1e-4
# What the summary of an import must contain: how the file was matched, and what became
# of batch norms.
KERAS, NAMES, ORDER = "order of Keras' layer numbers", "by torchvision's names", "by the order of convolutions"
FOLDED = "94 batch norms folded"


def randomize(shape, kind, random):
    """Random values by kind of weight, such that features stay of order 1 and no batch norm is the identity."""
    if kind == "kernel":
        fan_in = np.prod(shape) / max(shape[0], shape[-1]) if len(shape) == 4 else shape[0]
        return random.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)
    if kind in ("gamma", "variance"):
        return random.uniform(0.6, 1.4, shape).astype(np.float32)
    return random.normal(0, 0.1, shape).astype(np.float32)


# --- Keras ------------------------------------------------------------------------------------------------------------

def keras_model(px, values=None, top=False):
    import keras
    model = keras.applications.InceptionV3(weights=None, include_top=top, pooling=None if top else "avg",
                                           input_shape=(px, px, 3))
    if values is not None:
        model.set_weights(values)
    return model


def keras_kind(path):
    leaf = path.rsplit("/", 1)[-1]
    return {"kernel": "kernel", "gamma": "gamma", "moving_variance": "variance"}.get(leaf, "shift")


def write_keras(folder, random):
    import h5py
    import keras
    from keras.src.legacy.saving import legacy_h5_format
    first = keras_model(80)
    values = [randomize(w.shape, keras_kind(w.path), random) for w in first.weights]
    models = {px: keras_model(px, values) for px in SIZES}  # not the session's first: other numbers
    first.set_weights(values)
    whole = keras_model(299, top=True)
    whole.set_weights(values + [randomize(w.shape, "shift", random) for w in whole.weights[len(values):]])

    def path(name):
        return os.path.join(folder, name)
    first.save_weights(path("first.weights.h5"))
    models[80].save_weights(path("later.weights.h5"))
    whole.save_weights(path("top.weights.h5"))
    models[299].save(path("model.keras"))
    models[299].save(path("model.h5"))
    with h5py.File(path("notop.h5"), "w") as file:  # the layout of Keras 2's inception_v3_..._notop.h5
        legacy_h5_format.save_weights_to_hdf5_group(file, first)

    def features(px, inputs):
        return keras.ops.convert_to_numpy(models[px](inputs, training=False))
    return features, [("first.weights.h5", KERAS), ("later.weights.h5", KERAS), ("top.weights.h5", KERAS),
                      ("model.keras", KERAS), ("model.h5", KERAS), ("notop.h5", KERAS)]


# --- PyTorch ----------------------------------------------------------------------------------------------------------

def torch_kind(name):
    if name.endswith("conv.weight") or name.endswith("fc.weight"):
        return "kernel"
    return {"weight": "gamma", "running_var": "variance"}.get(name.rsplit(".", 1)[-1], "shift")


def randomize_torch(model, random):
    state = model.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            shape = tuple(tensor.shape)
            values = randomize(shape, torch_kind(name), random)
            if len(shape) == 4:  # the fan-in of OIHW
                values = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)
            state[name] = torch.from_numpy(values)
    model.load_state_dict(state)
    return model.eval()


def torch_features(model):
    def features(_, inputs):
        with torch.no_grad():
            return model(torch.from_numpy(inputs.transpose(0, 3, 1, 2).copy())).flatten(1).numpy()
    return features


def without_head(model):
    """The same layers with the pooled features as output."""
    import copy
    model = copy.deepcopy(model)
    model.fc = torch.nn.Identity()
    model.AuxLogits = None
    model.aux_logits = False
    return model.eval()


def write_onnx(model, path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(1, 3, 299, 299),), path, input_names=["input"], output_names=["features"],
                          verbose=False, **options)


def write_torchvision(folder, random):
    import safetensors.torch
    from torchvision.models import inception_v3
    model = randomize_torch(inception_v3(weights=None, init_weights=False, aux_logits=True), random)
    tower = without_head(model)

    def path(name):
        return os.path.join(folder, name)
    torch.save(model.state_dict(), path("state.pth"))
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, path("trained.pth"))
    safetensors.torch.save_file(model.state_dict(), path("state.safetensors"))
    keep = torch.onnx.TrainingMode.PRESERVE
    write_onnx(tower, path("folded.onnx"), dynamo=False)
    write_onnx(tower, path("unfolded.onnx"), dynamo=False, training=keep, do_constant_folding=False)
    write_onnx(tower, path("dynamo.onnx"), dynamo=True, external_data=False)
    return torch_features(tower), [("state.pth", NAMES), ("trained.pth", NAMES), ("state.safetensors", NAMES),
                                   ("folded.onnx", FOLDED), ("unfolded.onnx", NAMES), ("dynamo.onnx", FOLDED)]


def write_timm(folder, random):
    import safetensors.torch
    import timm
    model = randomize_torch(timm.create_model("inception_v3", pretrained=False), random)

    def path(name):
        return os.path.join(folder, name)
    torch.save(model.state_dict(), path("timm.pth"))
    safetensors.torch.save_file(model.state_dict(), path("timm.safetensors"))
    write_onnx(without_head(model), path("timm.onnx"), dynamo=False)
    return torch_features(without_head(model)), [("timm.pth", NAMES), ("timm.safetensors", NAMES), ("timm.onnx", FOLDED)]


def write_half(folder, random):
    """torchvision's weights in float16, compared with the rounded weights."""
    from torchvision.models import inception_v3
    model = randomize_torch(inception_v3(weights=None, init_weights=False, aux_logits=True), random)
    torch.save(model.half().state_dict(), os.path.join(folder, "half.pth"))
    return torch_features(without_head(model.float())), [("half.pth", NAMES)]


def write_gluon(folder, random):
    """timm's gluon_in1k expects ImageNet's normalisation; README's lines fold the difference into the first layer."""
    import safetensors.torch
    import timm
    tower = without_head(randomize_torch(timm.create_model("inception_v3", pretrained=False), random))
    mean, std = torch.tensor([.485, .456, .406]).view(3, 1, 1), torch.tensor([.229, .224, .225]).view(3, 1, 1)
    w = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    w["Conv2d_1a_3x3.bn.running_mean"] -= (w["Conv2d_1a_3x3.conv.weight"] * (0.5 - mean) / std).sum((1, 2, 3))
    w["Conv2d_1a_3x3.conv.weight"] /= 2 * std
    safetensors.torch.save_file(w, os.path.join(folder, "gluon.safetensors"))
    unit = torch_features(tower)
    to_normalized = [t.view(1, 1, 1, 3).numpy() for t in (mean, std)]
    return (lambda px, inputs: unit(px, ((inputs + 1) / 2 - to_normalized[0]) / to_normalized[1]),
            [("gluon.safetensors", NAMES)])


WRITERS = {"keras": [write_keras], "torchvision": [write_torchvision, write_half], "timm": [write_timm, write_gluon]}


# --- comparison -------------------------------------------------------------------------------------------------------

def micromet_features(program, path, px, inputs, folder):
    """(features, first line of the report); the line alone where the file was refused."""
    source, target = os.path.join(folder, "input.f32"), os.path.join(folder, "features.f32")
    inputs.tofile(source)
    ran = subprocess.run([program, path, str(px), source, target], capture_output=True, text=True, check=False)
    if ran.returncode:
        return None, ran.stderr.strip().replace(folder + "/", "")
    return np.fromfile(target, np.float32).reshape(len(inputs), -1), ran.stdout.split("\n")[0].split(": ", 2)[-1]


def check(program, write, writer, random, folder):
    features, files = write(folder, random)
    faults = []
    for px in SIZES:
        inputs = random.uniform(-1, 1, (WINDOWS, px, px, 3)).astype(np.float32)
        right = features(px, inputs)
        for name, expected in files:
            got, report = micromet_features(program, os.path.join(folder, name), px, inputs, folder)
            off = np.inf if got is None else float(np.abs(got - right).max() / np.abs(right).max())
            good = off <= RELATIVE_OFF and expected in report
            print(f"{writer:<12} {name:<18} {px:>4} {off:>9.1e} {' ' if good else '!'} {report}", flush=True)
            if not good:
                faults.append(f"{writer} {name} at {px} px: off by {off:.1e}, report '{report}'")
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", help="build/tests/features")
    parser.add_argument("writers", nargs="*", help="default: all", default=list(WRITERS))
    options = parser.parse_args()
    unknown = set(options.writers) - set(WRITERS)
    if unknown:
        parser.error(f"no such writer: {', '.join(unknown)}")
    print(f"{'writer':<12} {'file':<18} {'px':>4} {'worst':>9}   report")
    faults = []
    for writer in options.writers or WRITERS:
        for write in WRITERS[writer]:
            with tempfile.TemporaryDirectory() as folder:
                faults += check(os.path.abspath(options.program), write, writer, np.random.default_rng(1), folder)
    print("\n".join(faults) if faults else f"every feature within {RELATIVE_OFF:g} of the largest")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
