"""Files: what is cut off, altered or forged is refused, and says so at once."""

import hashlib
import json
import struct
import time
import zlib

import keras
import numpy as np
import pytest
from keras import layers

from tf_genbounds.compression import Compressed
from tf_genbounds.compression import compress
from tf_genbounds.compression.certificate import code_file


@pytest.fixture(scope="module")
def found():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2, name="logits")])
    model.layers[0].set_weights([np.array([[1.0, -1], [0, 0]]), np.array([0.25, 0])])
    x = np.random.default_rng(0).normal(size=(60, 2)).astype("float32")
    initial = model.get_weights()
    return compress(model, (x, x[:, 0] > 0), num_levels=3, initial_weights=initial)


def forged(path, facts=None, initial=None, code=None, **certificate):
    """Writes a file of consistent sizes and checksum, with other content."""
    text, arrays, bits = code_file.unpack(path)
    text = json.loads(text)
    text["certificate"].update(certificate)
    text.update(facts or {})
    bits = bits if code is None else code(bits)
    arrays = arrays if initial is None else initial(arrays)
    path.write_bytes(code_file.pack(json.dumps(text), arrays, bits))
    return path


@pytest.mark.parametrize(
    "certificate, message",
    [
        ({"bits": 3}, "has bits=.*Received: bits=3"),
        ({"items": {}}, r"Received: items=\[\]"),
        ({"fixed": []}, r"Received: fixed=\(\)"),
        ({"delta": 1.5}, "delta=1.5"),
        ({"delta": 0.0}, "delta=0.0"),
        ({"train_error": -0.25}, "train_error=-0.25"),
        ({"train_error": "nan"}, "train_error=nan"),
        ({"train_error": 0.001}, "a train error in samples=0. Received"),
        ({"num_samples": 0}, "num_samples=0"),
        ({"more": 1}, "does not say what a compressed model is made of"),
    ],
)
def test_a_certificate_that_is_not_of_its_code(found, tmp_path, certificate, message):
    found.save(tmp_path / "model.code")
    assert Compressed.load(tmp_path / "model.code").certificate == found.certificate
    with pytest.raises(ValueError, match=message):
        Compressed.load(forged(tmp_path / "model.code", **certificate))


CODED = {"name": "logits", "method": "", "numbers": 1, "relative_error": 0.0}


@pytest.mark.parametrize(
    "parts, message",
    [
        ({"code": lambda bits: bits[:-1]}, "has .* bits. Received: .* bits"),
        ({"code": lambda bits: [*bits, 0]}, "has .* bits. Received: .* bits"),
        ({"code": lambda bits: bits[:4]}, "code"),
        ({"facts": {"layers": [CODED | {"bits": 0.0}]}}, "its arrays"),
        ({"facts": {"layers": [{"name": "logits"}]}}, "what a compressed model"),
        ({"initial": lambda arrays: arrays[:1]}, "argument"),
    ],
)
def test_a_code_that_is_not_of_its_architecture(found, tmp_path, parts, message):
    found.save(tmp_path / "model.code")
    with pytest.raises(ValueError, match=message):
        Compressed.load(forged(tmp_path / "model.code", **parts))


def test_differences_need_what_they_are_added_to(found, tmp_path):
    found.save(tmp_path / "model.code")
    text, _, bits = code_file.unpack(tmp_path / "model.code")
    (tmp_path / "model.code").write_bytes(code_file.pack(text, None, bits))
    with pytest.raises(ValueError, match="Received: a difference code"):
        Compressed.load(tmp_path / "model.code")


def test_every_cut_and_every_changed_byte_is_refused(found, tmp_path):
    path = tmp_path / "model.code"
    found.save(path)
    content = path.read_bytes()
    for i in range(0, len(content), 7):
        for damaged in (
            content[:i],
            content[:i] + bytes([content[i] ^ 255]) + content[i + 1 :],
        ):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match="no compressed model, or it is dam"):
                code_file.unpack(path)


def body(header, *parts):
    content = json.dumps(header).encode() + b"\n" + b"".join(parts)
    checksum = hashlib.sha256(content).hexdigest().encode()
    return b"tf_genbounds code 2\n" + checksum + b"\n" + content


def test_declared_sizes_are_those_of_the_file(tmp_path):
    facts, nothing = zlib.compress(b"{}"), zlib.compress(b"")
    bomb = zlib.compress(b" " * 10**8)
    sizes = [len(facts), len(nothing), 1]
    header = {"sizes": sizes, "bits": 8, "shapes": None}
    path = tmp_path / "model.code"
    path.write_bytes(body(header, facts, nothing, b"\0"))
    assert code_file.unpack(path) == ("{}", None, [0] * 8)
    start = time.perf_counter()
    for content in (
        body(header | {"sizes": [10**12, len(nothing), 1]}, facts, nothing, b"\0"),
        body(header | {"sizes": [-1, *sizes[1:]]}, facts, nothing, b"\0"),
        body(header | {"bits": 10**15}, facts, nothing, b"\0"),
        body(header | {"bits": "8"}, facts, nothing, b"\0"),
        body(header | {"shapes": [[10**6, 10**6]]}, facts, nothing, b"\0"),
        body(header | {"sizes": [len(bomb), *sizes[1:]]}, bomb, nothing, b"\0"),
        body({}, facts, nothing, b"\0"),
        body([[]] * 3, facts, nothing, b"\0"),
        body(header, facts, nothing, b"\0") + b"more",
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no compressed model, or it is damaged"):
            code_file.unpack(path)
    assert time.perf_counter() - start < 2


def test_what_packs_very_well_is_read_too(tmp_path):
    path = tmp_path / "model.code"
    path.write_bytes(code_file.pack("a" * 10**6, [np.zeros(10**5)], [1, 0, 1]))
    facts, (zeros,), code = code_file.unpack(path)
    assert facts == "a" * 10**6 and zeros.shape == (10**5,) and code == [1, 0, 1]


def test_a_file_of_the_earlier_format_is_refused(tmp_path):
    (tmp_path / "model.code").write_bytes(b"tf_genbounds code 1\n" + struct.pack("9x"))
    with pytest.raises(ValueError, match="earlier format.*compress again"):
        Compressed.load(tmp_path / "model.code")
