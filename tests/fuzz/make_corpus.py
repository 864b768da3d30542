#!/usr/bin/env python3
"""Write the seeds of tests/fuzz/corpus, which are also the unit tests' files: small real ones.

usage: make_corpus.py keras|torch|onnx|annotation|outlines [CHECKPOINT]

`keras` needs keras (3.6 or later, with jax or torch) and h5py, `torch` needs torch and safetensors, `onnx` needs onnx,
`annotation` needs tifffile and imagecodecs. With a CHECKPOINT of
micromet's, `torch` also writes a seed with its metadata. All values are 0, 1, 2 … in the order of the arrays in the file of
the format's own reader, so that the unit tests know them. Nothing here is needed to build or to test."""
import collections
import io
import os
import pickle
import re
import struct
import sys
import zipfile

corpus = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'corpus')


def path(folder, name):
    os.makedirs(os.path.join(corpus, folder), exist_ok=True)
    return os.path.join(corpus, folder, name)


def make_keras():
    os.environ.setdefault('KERAS_BACKEND', 'jax')
    import h5py
    import keras
    import numpy as np
    from keras import layers

    def count_up(model):
        at = 0
        for variable in model.variables:
            size = int(np.prod(variable.shape))
            variable.assign(np.arange(at, at + size, dtype=np.float32).reshape(variable.shape))
            at += size

    def network(prefix=''):
        image = layers.Input((1, 1, 2))
        x = layers.Conv2D(2, 1, use_bias=False, name=prefix + 'conv2d_2')(image)  # saved first, as "conv2d"
        x = layers.BatchNormalization(scale=False, name=prefix + 'batch_normalization')(x)
        x = layers.Conv2D(1, 1, name=prefix + 'conv2d_10')(x)
        x = layers.BatchNormalization(name=prefix + 'batch_normalization_1')(x)
        return keras.Model(image, layers.Dense(1, name=prefix + 'dense')(x))

    model = network()
    count_up(model)
    model.save(path('zip', 'model.keras'))
    model.save_weights(path('hdf5', 'keras3.weights.h5'))
    model.save(path('hdf5', 'keras3_legacy.h5'))

    image = layers.Input((1, 1, 2))
    nested = keras.Model(image, layers.Add()([network('a_')(image), network('b_')(image)]))
    nested.save_weights(path('hdf5', 'keras3_nested.weights.h5'))

    def remove_names(file):
        file.visititems(lambda name, item: item.attrs.pop('name', None) if name.endswith('vars') else None)

    with zipfile.ZipFile(path('zip', 'model.keras')) as whole, h5py.File('old.weights.h5', 'w') as old:
        with h5py.File(io.BytesIO(whole.read('model.weights.h5'))) as new:
            for name in new:
                new.copy(name, old)
        remove_names(old)
        old.close()
        with zipfile.ZipFile(path('zip', 'before_3_6.keras'), 'w', zipfile.ZIP_DEFLATED) as packed:
            packed.writestr('config.json', whole.read('config.json'))
            packed.write('old.weights.h5', 'model.weights.h5')
    os.replace('old.weights.h5', path('hdf5', 'keras3_before_3_6.weights.h5'))

    with h5py.File(path('hdf5', 'keras2.h5'), 'w') as file:
        file.attrs['layer_names'] = [b'conv2d_1', b'batch_normalization_1']
        at = 0
        for layer, weights in (('conv2d_1', {'kernel:0': (1, 1, 2, 2)}),
                               ('batch_normalization_1', {'beta:0': (2,), 'moving_mean:0': (2,)})):
            group = file.create_group(layer)
            group.attrs['weight_names'] = [f'{layer}/{name}'.encode() for name in weights]
            for name, shape in weights.items():
                size = int(np.prod(shape))
                values = np.arange(at, at + size, dtype=np.float32).reshape(shape)
                # The second array is stored by halves, the third is packed.
                how = {'beta:0': {'dtype': 'f2'}, 'moving_mean:0': {'compression': 'gzip'}}.get(name, {})
                group.create_dataset(f'{layer}/{name}', data=values, **how)
                at += size


class System:
    def __reduce__(self):
        return os.system, ('touch pickle_was_run',)


def write_liars():
    """Archives that announce what they do not have: 2^60 values, and 256 times the bytes of an entry."""
    def vector(count):
        number = b'\x8a\x08' + struct.pack('<q', count)
        return (b'\x80\x02}(\x8c\x01wctorch._utils\n_rebuild_tensor_v2\n((\x8c\x07storagectorch\nFloatStorage\n'
                b'\x8c\x010\x8c\x03cpu' + number + b'tQK\x00' + number + b'\x85K\x01\x85\x89NtRu.')
    for name, count in (('oversized.pth', 2 ** 60), ('wrong_size.pth', 6)):
        with zipfile.ZipFile(path('zip', name), 'w') as archive:
            archive.writestr(zipfile.ZipInfo('a/data.pkl'), vector(count))
            archive.writestr(zipfile.ZipInfo('a/data/0'), struct.pack('<6f', *range(6)))
    with open(path('zip', 'wrong_size.pth'), 'r+b') as file:
        entry = file.read().rindex(b'a/data/0') - 46  # in the central directory; sizes at 20 and 24
        file.seek(entry + 20)
        file.write(struct.pack('<II', 24 * 256, 24 * 256))


def make_torch(checkpoint=None):
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    state = collections.OrderedDict([
        ('a.weight', torch.arange(6.).reshape(2, 3)),
        ('a.bias', torch.arange(6., 10.).half()),
        ('steps', torch.tensor(10)),
    ])
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1))
    cube = torch.arange(24.).reshape(2, 3, 4)
    files = {
        'state.pth': state,
        'lightning.ckpt': {'epoch': 3, 'state_dict': network.state_dict(), 'size': torch.Size([1, 2]),
                           'dtype': torch.float32, 'hyper': {'rate': 0.1, 'none': None, 'large': 2 ** 70,
                                                             'flags': (True, False), 'names': ['x']},
                           'best': torch.tensor(0.5)},
        'views.pth': {'slice': cube[1], 'transposed': cube.transpose(0, 2), 'bfloat16': torch.ones(3).bfloat16(),
                      'channels_last': torch.arange(16.).reshape(1, 2, 2, 4).to(memory_format=torch.channels_last),
                      'parameter': torch.nn.Parameter(torch.ones(2)), 'double': torch.ones(1).double()},
    }
    for name, content in files.items():
        torch.save(content, path('zip', name))
    for protocol in (3, 4, 5):
        torch.save(state, path('zip', f'protocol{protocol}.pth'), pickle_protocol=protocol)
    torch.save(torch.nn.Sequential(torch.nn.Linear(1, 1)), path('zip', 'module.pth'))
    torch.save(torch.zeros(1).expand(1000), path('zip', 'tensor.pth'))
    torch.save(state, path('pickle', 'legacy.pth'), _use_new_zipfile_serialization=False)
    for name in os.listdir(os.path.join(corpus, 'zip')):
        if name.endswith('.keras'):
            continue
        with zipfile.ZipFile(path('zip', name)) as archive:
            entry = next(entry for entry in archive.namelist() if entry.endswith('/data.pkl'))
            with open(path('pickle', name + '.pkl'), 'wb') as file:
                file.write(archive.read(entry))
    for protocol in (2, 4):
        with open(path('pickle', f'system{protocol}.pkl'), 'wb') as file:
            pickle.dump({'weight': System()}, file, protocol)
    with zipfile.ZipFile(path('zip', 'system.pth'), 'w') as archive:
        archive.writestr('archive/data.pkl', pickle.dumps({'weight': System()}, 2))
    write_liars()

    save_file({'w': torch.arange(6.).reshape(2, 3), 'h': torch.ones(4).bfloat16(), 'i': torch.arange(2)},
              path('safetensors', 'three.safetensors'), {'format': 'pt'})
    save_file({}, path('safetensors', 'empty.safetensors'))
    if checkpoint:
        with safe_open(checkpoint, 'pt') as file:
            metadata = {key: value for key, value in file.metadata().items() if key != 'micromet.xxh3'}
        folder = os.path.dirname(re.search('manifest: (.*)', metadata['config'])[1])
        metadata['config'] = metadata['config'].replace(folder, '/data')
        save_file({'tower0.w': torch.ones(2)}, path('checkpoint', 'metadata.safetensors'), metadata)


def make_onnx():
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    at = 0

    def tensor(name, shape, kind=np.float32, raw=True):
        nonlocal at
        size = int(np.prod(shape))
        values = np.arange(at, at + size, dtype=kind).reshape(shape)
        at += size
        if raw:
            return numpy_helper.from_array(values, name)
        return helper.make_tensor(name, helper.np_dtype_to_tensor_dtype(values.dtype), shape, values.flatten())

    arrays = [tensor('w', (2, 1, 1, 1)), tensor('scale', (2,), raw=False), tensor('shift', (2,)), tensor('mean', (2,)),
              tensor('h', (2, 2, 1, 1), np.float16, raw=False), tensor('raw_h', (2,), np.float16)]
    nodes = [helper.make_node('Constant', [], ['bias'], value=tensor('', (2,))),
             helper.make_node('Identity', ['scale'], ['variance']),
             helper.make_node('Conv', ['x', 'w', 'bias'], ['y']),
             helper.make_node('BatchNormalization', ['y', 'scale', 'shift', 'mean', 'variance'], ['z'], epsilon=1e-3),
             helper.make_node('Conv', ['z', 'h', 'raw_h'], ['o'])]
    graph = helper.make_graph(nodes, 'g', [helper.make_tensor_value_info('x', TensorProto.FLOAT, ['n', 1, 2, 2])],
                              [helper.make_tensor_value_info('o', TensorProto.FLOAT, ['n', 2, 2, 2])], arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8)
    helper.set_model_props(model, {'note': 'text'})
    onnx.save(model, path('onnx', 'kinds.onnx'))
    onnx.save(model, path('onnx', 'elsewhere.onnx'), save_as_external_data=True, size_threshold=0, location='elsewhere.data')
    os.remove(path('onnx', 'elsewhere.data'))
    branch = helper.make_graph(nodes[2:3], 'b', [], [helper.make_tensor_value_info('y', TensorProto.FLOAT, None)], arrays[:1])
    nodes.insert(0, helper.make_node('If', ['c'], ['y2'], then_branch=branch, else_branch=branch))
    graph = helper.make_graph(nodes, 'g', [], [], arrays)
    onnx.save(helper.make_model(graph, ir_version=8), path('onnx', 'branches.onnx'))


def make_annotation():
    import numpy as np
    import tifffile
    mask = np.zeros((40, 60), np.uint8)
    mask[5:20, 7:33] = 1
    tiles = dict(tile=(16, 16), metadata=None)
    alpha = dict(photometric='rgb', extrasamples=['unassalpha'])
    planes = dict(photometric='rgb', planarconfig='separate')

    def write(name, pixels, **options):
        tifffile.imwrite(path('annotation', name + '.tif'), pixels, **{**tiles, **options})

    write('bytes', mask * 255)
    write('deflate', mask * 255, compression='zlib', predictor=True)
    write('lzw_strips', mask, compression='lzw', tile=None, rowsperstrip=7)
    write('booleans', mask.astype(bool))
    write('words', mask.astype(np.uint16) * 256, byteorder='>')
    write('floats', mask.astype(np.float32))
    write('rgb', np.dstack([mask * 255] * 3), photometric='rgb')
    write('planes', np.stack([mask * 0, mask * 255, mask * 0]), **planes)
    write('alpha', np.dstack([mask] * 4), **alpha)
    write('inverted', 255 - mask * 255, photometric='miniswhite')
    write('jpeg', mask * 255, compression='jpeg')
    write('half', mask[::2, ::2])
    write('padded', np.pad(mask, ((0, 8), (0, 4))))
    shapes = (('Polygon', 'Tumor', ((5, 5), (30, 5), (30, 30), (5, 30)) * 2), ('Rectangle', 'Tumor', ((40, 5), (70, 20))),
              ('Polygon', '_2', ((10, 10), (20, 10), (20, 20))), ('Dot', 'Tumor', ((3, 3),)), ('Spline', 'Lymph', ()))
    text = '<?xml version="1.0"?>\n<ASAP_Annotations>\n'
    for name, (kind, group, points) in enumerate(shapes):
        text += f'<Annotation Name="{name}" Type="{kind}" PartOfGroup="{group}"><Coordinates>'
        for order, (x, y) in enumerate(points):
            text += f'<Coordinate Order="{order}" X="{x}" Y="{y}"/>'
        text += '</Coordinates></Annotation>\n'
    text += '</ASAP_Annotations>\n'
    for name, encoding in (('utf8', 'utf-8'), ('utf16', 'utf-16')):
        with open(path('annotation', name + '.xml'), 'wb') as stream:
            stream.write(text.encode(encoding))


def make_outlines():
    import gzip
    import json
    import zlib
    square, hole, island = ([[5, 5], [30, 5], [30, 30], [5, 30]], [[10, 10], [20, 10], [20.5, 20.25]], [[12, 11], [13, 11], [13, 12]])

    def feature(kind, coordinates, **properties):
        return {'type': 'Feature', 'id': 'x', 'geometry': {'type': kind, 'coordinates': coordinates}, 'properties': properties}

    tumor = {'name': 'Tumor', 'color': [200, 0, 0]}
    many = {'type': 'FeatureCollection', 'features': [
        feature('MultiPolygon', [[square, hole], [island]], objectType='annotation', classification=tumor, measurements=[{'a': 1e-3}]),
        feature('Polygon', [square], name='Stro\u00e4\\"', classification={'names': ['Stroma', 'Positive'], 'colorRGB': -3670016}),
        feature('Point', [1, 2]), feature('LineString', [[1, 2], [3, 4]])]}

    def region(kind, points, negative, vertex):
        corners = ''.join(f'<{vertex} X="{x}" Y="{y}"/>' for x, y in points)
        return f'<Region Type="{kind}" NegativeROA="{negative}" Text="a"><Vertices>{corners}</Vertices></Region>'

    def layers(regions, vertex):
        inside = ''.join(region(*one, vertex) for one in regions)
        return f'<Annotations><Annotation Name="Tumor" LineColor="65280"><Regions>{inside}</Regions></Annotation></Annotations>'

    ring = square + [square[0]] + hole + [hole[0]]
    asap = ''.join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(ring))
    files = {
        'collection.geojson': json.dumps(many).encode(),
        'bare.geojson': json.dumps([feature('Polygon', [square], classification='Tumor')]).encode(),
        'one.geojson': json.dumps({'type': 'Polygon', 'coordinates': [square]}).encode(),
        'packed.geojson.gz': gzip.compress(json.dumps(many).encode(), mtime=0),
        'imagescope.xml': layers([('0', square, 0), ('1', hole, 1), ('2', square[:3:2], 0), ('4', square[:2], 0)], 'Vertex').encode(),
        'halo.annotations': layers([('Polygon', square, 0), ('Rectangle', square[:3:2], 1), ('Pin', hole[:1], 0)], 'V').encode(),
        'no_points.xml': b'<ASAP_Annotations><Annotation PartOfGroup="Tumor"></Annotation></ASAP_Annotations>',
        'rings.xml': ('<ASAP_Annotations><Annotations><Annotation Name="a" PartOfGroup="Tumor" Color="#c80000" Rings="4 3">'
                      f'<Coordinates>{asap}</Coordinates></Annotation></Annotations></ASAP_Annotations>').encode(),
    }
    for name, content in files.items():
        with open(path('outlines', name), 'wb') as stream:
            stream.write(content)

    def png(name, bits, color, rows, *chunks):
        def chunk(kind, content):
            return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
        with open(path('mask_png', name + '.png'), 'wb') as stream:
            stream.write(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 60, 40, bits, color, 0, 0, 0)))
            for one in chunks:
                stream.write(chunk(*one))
            stream.write(chunk(b'IDAT', zlib.compress(b''.join(b'\0' + row for row in rows))) + chunk(b'IEND', b''))

    values = [[255 * (5 <= y < 20) * (7 <= x < 33) for x in range(60)] for y in range(40)]
    png('gray', 8, 0, [bytes(row) for row in values])
    png('words', 16, 0, [bytes(byte for value in row for byte in (0, value & 1)) for row in values])
    png('bits', 1, 0, [bytes(sum((value & 1) << 7 - i for i, value in enumerate(row[at:at + 8])) for at in range(0, 60, 8)) for row in values])
    png('palette', 8, 3, [bytes(value & 1 for value in row) for row in values], (b'PLTE', bytes(6)), (b'tRNS', bytes(1)))
    png('alpha', 8, 6, [bytes(byte for value in row for byte in (value, 0, 0, 255)) for row in values])


if __name__ == '__main__':
    makers = {'annotation': make_annotation, 'outlines': make_outlines, 'keras': make_keras, 'torch': make_torch, 'onnx': make_onnx}
    if len(sys.argv) < 2 or sys.argv[1] not in makers:
        sys.exit(__doc__)
    makers[sys.argv[1]](*sys.argv[2:3])
