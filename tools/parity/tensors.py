"""safetensors files in numpy, as far as the parity scripts need: u64 length of the header, JSON header, data."""
import json

import numpy as np

TYPES = {"F32": np.dtype("<f4"), "U8": np.dtype("u1")}


def write(path, tensors, metadata):
    """tensors: {name: array of float32 or uint8}; metadata: {name: value}, kept as text. float32 comes first, so that all
    of it is aligned."""
    kinds = {dtype: kind for kind, dtype in TYPES.items()}
    header, place = {"__metadata__": {key: str(value) for key, value in metadata.items()}}, 0
    ordered = sorted(tensors.items(), key=lambda item: -item[1].itemsize)
    for name, array in ordered:
        header[name] = {"dtype": kinds[array.dtype], "shape": list(array.shape),
                        "data_offsets": [place, place + array.nbytes]}
        place += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for _, array in ordered:
            out.write(array.tobytes())


def read(path):
    """({name: array}, {name: text}); the arrays are views of the mapped file."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    metadata = header.pop("__metadata__", {})
    content = np.memmap(path, np.uint8, "r", 8 + length)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = content[begin:end].view(TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors, metadata
