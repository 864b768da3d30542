#!/usr/bin/env python3
"""Compare the arrays that micromet reads from weight files with the libraries that wrote them, and measure the cost.

    python3 tools/parity/check_weights.py LIST_WEIGHTS keras|torch [SECONDS]

LIST_WEIGHTS is build/tests/list_weights. `keras` needs keras (3.6 or later, with jax or torch), `torch` needs torch, torchvision
and safetensors. A network of random values, batch norm included, is saved in each of the library's formats; names, shapes
and values of all arrays are compared. A second read of a file must take less than SECONDS (default: 0.3) of processor time
and 1.3 times the file's size in memory.
"""
import os
import subprocess
import sys
import tempfile
import zlib

MEMORY, SECONDS = 1.3, 0.3


def facts(values):
    """Shape and checksum of a numpy array as list_weights prints them; floats as float32, integers unchanged."""
    import numpy as np
    values = np.asarray(values, np.float32 if values.dtype.kind == 'f' else None, order='C')
    return '[' + ','.join(map(str, values.shape)) + ']', f'{zlib.crc32(values.tobytes()):08x}'


def keras_files():
    """Yields files and their arrays by name."""
    os.environ.setdefault('KERAS_BACKEND', 'jax')
    import keras
    import numpy as np
    model = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(80, 80, 3))
    generator = np.random.default_rng(1)
    arrays = {}
    for layer in model.layers:
        for variable in layer.weights:
            values = generator.random(variable.shape, np.float32)
            variable.assign(values)
            arrays[f'{layer.name}/{variable.name}:0'] = facts(values)
    model.save_weights('v3.weights.h5')
    model.save('v3.keras')
    model.save('v3.h5')
    without_end = {name.removesuffix(':0'): fact for name, fact in arrays.items()}
    return [('v3.weights.h5', arrays), ('v3.keras', arrays), ('v3.h5', without_end)]


def torch_files():
    import torch
    import torchvision
    from safetensors.torch import save_file
    torch.manual_seed(1)
    network = torchvision.models.inception_v3(weights=None, init_weights=False)
    for values in network.state_dict().values():
        if values.is_floating_point():
            values.uniform_()
    files = []

    def save(name, state, content=None, writer=torch.save, **options):
        writer(content or state, name, **options)
        files.append((name, {key: facts(value.float().numpy() if value.is_floating_point() else value.numpy())
                             for key, value in state.items()}))

    state = network.state_dict()
    save('v3.pth', state)
    save('protocol5.pth', state, pickle_protocol=5)
    save('lightning.ckpt', state, {'epoch': 1, 'state_dict': state})
    save('v3.safetensors', dict(state), writer=save_file)
    for name, dtype in (('half', torch.float16), ('bfloat16', torch.bfloat16)):
        state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in network.state_dict().items()}
        save(f'{name}.pth', state)
        save(f'{name}.safetensors', {key: value.contiguous() for key, value in state.items()}, writer=save_file)
    channels_last = network.to(memory_format=torch.channels_last).state_dict()
    save('channels_last.pth', channels_last)
    return files


def run(program, *arguments):
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout.splitlines()


def check(program, name, expected, seconds_max):
    found = {}
    for line in run(program, '--arrays', name)[1:]:
        array, _, shape, checksum = line.rsplit(' ', 3)
        found[array] = (shape, checksum)
    wrong = [array for array in expected.keys() | found.keys() if expected.get(array) != found.get(array)]
    summary = run(program, name)[0]
    words = summary.split()
    seconds = float(words[words.index('on') - 1].lstrip('('))
    memory, size = float(words[words.index('MB') - 1]), float(words[-2])
    bound = MEMORY * size
    complaints = [f'{len(wrong)} arrays differ, {sorted(wrong)[0]} among them'] if wrong else []
    complaints += [f'takes over {seconds_max} s'] if seconds > seconds_max else []
    complaints += [f'takes over {bound:.0f} MB of memory'] if memory > bound else []
    print(f'{summary}: {"; ".join(complaints) or "as written"}')
    return not complaints


def main():
    if len(sys.argv) not in (3, 4) or sys.argv[2] not in ('keras', 'torch'):
        sys.exit(__doc__)
    program = os.path.abspath(sys.argv[1])
    seconds_max = float(sys.argv[3]) if len(sys.argv) == 4 else SECONDS
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        files = keras_files() if sys.argv[2] == 'keras' else torch_files()
        results = [check(program, name, arrays, seconds_max) for name, arrays in files]
        os.chdir('/')
    sys.exit(not all(results))


if __name__ == '__main__':
    main()
