"""Compare exported models, in the runtimes that their users have, with `micromet predict`. See tools/check-export.

    check_export.py MICROMET CHECKPOINT PACK FOLDER     print the table; exit status 1 if a check fails
    check_export.py --scale CHECKPOINT OUT              write one tower with batch norm scales, as initial weights
"""
import csv
import importlib.util
import json
import resource
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

WINDOWS = 200
SAME = 1e-5      # float32, summed in another order
HALF = 1e-2      # float16 weights and activations
EIGHT_BITS = 2e-2  # shrunk windows rounded to 8 bits, as slides hold them
EXPORT_SECONDS, EXPORT_MEGABYTES = 3, 100


class Table:
    def __init__(self, title):
        self.missed = False
        print(f"\n{title}\n{'check':<66}{'seen':>12}{'bound':>12}")

    def row(self, what, seen, bound):
        good = seen <= bound
        self.missed |= not good
        print(f"{what:<66}{seen:>12.3g}{bound:>12.3g}{'' if good else '   MISSED'}", flush=True)

    def holds(self, what, check):
        """Run check(), which returns a finding or raises."""
        try:
            check()
            print(f"{what:<66}{'yes':>12}", flush=True)
        except Exception as error:
            self.missed = True
            print(f"{what:<66}{'NO':>12}   {type(error).__name__}: {str(error)[:300]}", flush=True)


def gap(a, b):
    return float(np.abs(np.ravel(a).astype(np.float64) - np.ravel(b)).max())


def read_pack(path, count, towers, window):
    """The pixels at the end of a pack, (count, towers, window, window, 3)."""
    return np.fromfile(path, np.uint8)[-count * towers * window * window * 3:].reshape(count, towers, window, window, 3)


def children_seconds():
    """Processor time of child processes, which does not depend on other programs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Export:
    """Export a checkpoint with the program in every format."""

    def __init__(self, micromet, checkpoint, folder):
        self.micromet, self.checkpoint, self.folder = micromet, checkpoint, Path(folder)
        shutil.rmtree(folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.seconds = 0

    def make(self, name, *options):
        begin = children_seconds()
        subprocess.run([self.micromet, "export", self.checkpoint, "-o", self.folder / name, *options], check=True,
                       stdout=subprocess.DEVNULL)
        self.seconds = max(self.seconds, children_seconds() - begin)
        return str(self.folder / name)

    def predict(self, files, model):
        run = subprocess.run([self.micromet, "predict", *files, "--model", model], check=True, capture_output=True,
                             text=True)
        return np.array([float(row["probability"]) for row in csv.DictReader(run.stdout.splitlines())])


def onnxruntime_run(path, inputs):
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    logit, probability = session.run(["logit", "probability"], dict(zip(names, inputs)))
    assert gap(1 / (1 + np.exp(-logit.astype(np.float64))), probability) < 1e-6
    return probability


def opencv_run(path, inputs):
    import cv2
    net = cv2.dnn.readNetFromONNX(path)
    names = ["window"] if len(inputs) == 1 and "single" in path else [f"tower{t}" for t in range(len(inputs))]
    for name, value in zip(names, inputs):
        net.setInput(np.ascontiguousarray(value), name)
    return net.forward("probability")


def floats(pixels):
    """As torchvision's ToTensor."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)


def larger_windows(pixels, module):
    """Windows of SIDE px at the finest level: the coarsest tower's, enlarged, with the finest one in the middle."""
    large = pixels[:, -1].repeat(module.RATIOS[-1], 1).repeat(module.RATIOS[-1], 2)
    size = module.WINDOW
    corner = (large.shape[1] - size) // 2
    large[:, corner:corner + size, corner:corner + size] = pixels[:, 0]
    return np.ascontiguousarray(large)


def cut(large, module):
    """The towers' windows of them, float NCHW in [0, 1]: plain numpy, beside the graph's own slices and pools."""
    windows = []
    for ratio in module.RATIOS:
        size = ratio * module.WINDOW
        corner = (large.shape[1] - size) // 2
        part = floats(large)[:, :, corner:corner + size, corner:corner + size].astype(np.float64)
        parts = part.reshape(len(part), 3, module.WINDOW, ratio, module.WINDOW, ratio)
        windows.append(parts.mean((3, 5)).astype(np.float32))
    return windows


def load_module(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem.replace("-", "_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_graphs(table, export, files, pixels, expected):
    import onnx

    towers = [np.ascontiguousarray(pixels[:, t]) for t in range(pixels.shape[1])]
    planes = [floats(tower) for tower in towers]
    for name, path in files.items():
        table.holds(f"{name}: onnx.checker, shapes and types inferred",
                    lambda: onnx.checker.check_model(path, full_check=True))
    for name, inputs, bound in (("uint8", towers, SAME), ("float", planes, SAME), ("fp16", towers, HALF)):
        for runtime, run in (("ONNX Runtime", onnxruntime_run), ("OpenCV", opencv_run)):
            table.row(f"{name}: {runtime}, probability", gap(run(files[name], inputs), expected), bound)


def check_single(table, export, files, pixels, expected, module):
    large = larger_windows(pixels, module)
    concentric = onnxruntime_run(files["float"], cut(large, module))
    for runtime, run in (("ONNX Runtime", onnxruntime_run), ("OpenCV", opencv_run)):
        table.row(f"single-uint8: {runtime}, against numpy's windows in the towers' form",
                  gap(run(files["single-uint8"], [large]), concentric), SAME)
        table.row(f"single-float: {runtime}, against numpy's windows in the towers' form",
                  gap(run(files["single-float"], [floats(large)]), concentric), SAME)
    return large, concentric


def check_pictures(table, export, files, pixels, expected, large, concentric):
    import cv2

    few, names, singles = 5, [], []
    for i in range(few):
        for t in range(pixels.shape[1]):
            names.append(str(export.folder / f"window-{i}-{t}.png"))
            cv2.imwrite(names[-1], pixels[i, t, :, :, ::-1])
        singles.append(str(export.folder / f"large-{i}.png"))
        cv2.imwrite(singles[-1], large[i, :, :, ::-1])
    for what in ("uint8", "fp16", "single-uint8"):
        table.row(f"{what}: micromet predict of pictures, a window a tower",
                  gap(export.predict(names, files[what]), expected[:few]), HALF if what == "fp16" else SAME)
    table.row("single-uint8: micromet predict of pictures, one window",
              gap(export.predict(singles, files["single-uint8"]), concentric[:few]), EIGHT_BITS)


def check_pytorch(table, module, pixels, expected):
    import torch

    model = module.load()  # strict
    with torch.inference_mode():
        windows = [module.preprocess(pixels[:, t]) for t in range(pixels.shape[1])]
        table.row("safetensors: PyTorch, strictly loaded, probability", gap(model(*windows).sigmoid(), expected), SAME)


def check_wsinfer(table, folder, large, concentric):
    import torch
    from wsinfer_zoo.client import ModelConfiguration

    config = json.loads((folder / "config.json").read_text())
    table.holds("wsinfer: config.json fits WSInfer's schema", lambda: ModelConfiguration.from_dict(config))
    subprocess.run([sys.executable, "-W", "ignore", folder / "make_torchscript.py"], check=True,
                   stdout=subprocess.DEVNULL)
    assert large.shape[1] == config["patch_size_pixels"]
    normalize = {step["name"]: step.get("arguments") for step in config["transform"]}["Normalize"]
    patches = (floats(large) - normalize["mean"][0]) / np.float32(normalize["std"][0])
    with torch.inference_mode():
        logits = torch.jit.load(folder / "torchscript_model.pt")(torch.from_numpy(patches))
    table.row("wsinfer: TorchScript, softmax of the logits", gap(logits.softmax(1)[:, 1], concentric), SAME)


def check_triton(table, repository, name, onnx_path):
    import onnx
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2 as triton

    def check():
        config = text_format.Parse((repository / name / "config.pbtxt").read_text(), triton.ModelConfig())
        graph = onnx.load(repository / name / "1" / "model.onnx", load_external_data=False).graph
        types = {onnx.TensorProto.UINT8: triton.TYPE_UINT8, onnx.TensorProto.FLOAT: triton.TYPE_FP32}
        for ours, theirs in ((config.input, graph.input), (config.output, graph.output)):
            shapes = [(v.name, types[v.type.tensor_type.elem_type],
                       [d.dim_value for d in v.type.tensor_type.shape.dim[1:]]) for v in theirs]
            assert shapes == [(v.name, v.data_type, list(v.dims)) for v in ours], shapes
        assert config.name == name and config.max_batch_size > 1 and config.HasField("dynamic_batching")

    table.holds("triton: config.pbtxt parses and names the graph's inputs and outputs", check)
    same = (repository / name / "1" / "model.onnx").read_bytes() == Path(onnx_path).read_bytes()
    table.row("triton: bytes that differ from the ONNX export", 0 if same else 1, 0)


def check_metadata(table, checkpoint, onnx_path):
    import onnx
    from safetensors import safe_open

    def check():
        stored = safe_open(checkpoint, "np").metadata()
        properties = {p.key: p.value for p in onnx.load(onnx_path).metadata_props}
        for key in ("towers", "preprocessing", "pool_padding", "class_names", "threshold"):
            assert properties[key] == stored[key], (key, properties.get(key), stored[key])
        for key in ("window", "exporter", "program", "input", "precision"):
            assert properties[key], key

    table.holds("uint8: metadata are the checkpoint's", check)


def check(micromet, checkpoint, pack, folder):
    export = Export(micromet, checkpoint, folder)
    files = {"uint8": export.make("uint8.onnx", "--format", "onnx"),
             "float": export.make("float.onnx", "--format", "onnx", "--input", "float"),
             "fp16": export.make("fp16.onnx", "--format", "onnx", "--precision", "fp16"),
             "single-uint8": export.make("single-uint8.onnx", "--format", "onnx", "--single-input"),
             "single-float": export.make("single-float.onnx", "--format", "onnx", "--single-input", "--input", "float")}
    weights = export.make("model.safetensors", "--format", "safetensors")
    wsinfer = Path(export.make("wsinfer", "--format", "wsinfer"))
    triton = Path(export.make("triton", "--format", "triton"))
    megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024

    table = Table(f"{checkpoint}: {WINDOWS} windows of {pack}")
    table.row("export: processor seconds, the slowest format", export.seconds, EXPORT_SECONDS)
    table.row("export: MB of memory, the largest format", megabytes, EXPORT_MEGABYTES)
    module = load_module(weights.removesuffix(".safetensors") + ".py")

    everything = export.predict([pack], checkpoint)
    again = export.predict([pack], files["uint8"])
    table.row("uint8: micromet predict of the ONNX file", gap(again, everything), SAME)
    chosen = np.linspace(0, len(everything) - 1, WINDOWS).astype(int)
    pixels = read_pack(pack, len(everything), module.TOWERS, module.WINDOW)[chosen]
    expected = everything[chosen]
    table.row("spread of the probabilities (1 - largest + smallest)", 1 - float(np.ptp(expected)), 0.5)

    check_metadata(table, checkpoint, files["uint8"])
    check_graphs(table, export, files, pixels, expected)
    large, concentric = check_single(table, export, files, pixels, expected, module)
    check_pictures(table, export, files, pixels, expected, large, concentric)
    check_pytorch(table, module, pixels, expected)
    check_wsinfer(table, wsinfer, large, concentric)
    check_triton(table, triton, next(triton.iterdir()).name, files["uint8"])
    return 1 if table.missed else 0


def scale(checkpoint, out):
    from safetensors.numpy import load_file, save_file

    random = np.random.default_rng(1)
    arrays = {name.removeprefix("tower0."): array for name, array in load_file(checkpoint).items()
              if name.startswith("tower0.")}
    for name in [name for name in arrays if name.endswith(".bn.bias")]:
        by = random.uniform(0.7, 1.4, arrays[name].shape).astype(np.float32)
        arrays[name.replace(".bias", ".weight")] = by
    save_file(arrays, out)


warnings.filterwarnings("ignore", category=FutureWarning)  # TorchScript's, which WSInfer needs
if sys.argv[1] == "--scale":
    scale(*sys.argv[2:])
else:
    sys.exit(check(*sys.argv[1:]))
