"""The file of a code word, its size checked before anything is read."""

import hashlib
import json
import math
import pathlib
import zlib

import numpy as np

_MAGIC = b"tf_genbounds code 2\n"
_OLD_MAGIC = b"tf_genbounds code 1\n"
# No part of a file grows by more when it is unpacked.
_RATIO = 200


def pack(facts, initial, code):
    """Returns the content of a file.

    Args:
        facts: String, what was fixed before the code.
        initial: List of arrays that the decoded ones are added to, or `None`.
        code: List of bits.
    """
    arrays = [np.asarray(a, "<f4") for a in initial or ()]
    parts = [
        _deflate(facts.encode()),
        _deflate(b"".join(a.tobytes() for a in arrays)),
        np.packbits(code).tobytes(),
    ]
    header = {
        "sizes": [len(part) for part in parts],
        "bits": len(code),
        "shapes": None if initial is None else [a.shape for a in arrays],
    }
    body = json.dumps(header).encode() + b"\n" + b"".join(parts)
    checksum = hashlib.sha256(body).hexdigest().encode() + b"\n"
    return _MAGIC + checksum + body


def unpack(path):
    """Reads a file.

    Returns:
        A tuple `(facts, initial, code)`, as `pack` takes them.

    Raises:
        ValueError: If the file is of another kind, cut off or altered.
    """
    content = pathlib.Path(path).read_bytes()
    if content.startswith(_OLD_MAGIC):
        raise ValueError(
            "The file is of an earlier format, whose codes did not pay for all that "
            f"the decoder reads: compress again. Received: path={str(path)!r}"
        )
    head, _, rest = content.partition(_MAGIC)
    checksum, _, body = rest.partition(b"\n")
    try:
        if head or hashlib.sha256(body).hexdigest().encode() != checksum:
            raise ValueError("checksum")
        return _read(body)
    except (ValueError, TypeError, KeyError, RecursionError, zlib.error) as error:
        raise ValueError(
            "The file is no compressed model, or it is damaged. "
            f"Received: path={str(path)!r}"
        ) from error


def _read(body):
    header, _, rest = body.partition(b"\n")
    header = json.loads(header)
    sizes, num_bits, shapes = header["sizes"], header["bits"], header["shapes"]
    for size in [*sizes, num_bits, *(n for shape in shapes or () for n in shape)]:
        if type(size) is not int or size < 0:
            raise ValueError("size")
    facts, initial, code = sizes
    if facts + initial + code != len(rest) or code != -(-num_bits // 8):
        raise ValueError("sizes")
    numbers = _inflate(rest[facts : facts + initial])
    arrays = None
    if shapes is not None:
        counts = [math.prod(shape) for shape in shapes]
        if 4 * sum(counts) != len(numbers):
            raise ValueError("numbers")
        flat = np.frombuffer(numbers, "<f4").astype("float32")
        parts = np.split(flat, np.cumsum(counts[:-1])) if counts else []
        arrays = [a.reshape(s) for a, s in zip(parts, shapes, strict=True)]
    bits = np.unpackbits(np.frombuffer(rest[facts + initial :], "uint8"))
    return _inflate(rest[:facts]).decode(), arrays, bits[:num_bits].tolist()


def _deflate(data):
    packed = zlib.compress(data)
    # What packs too well is stored as it is, so that a reader can set a limit.
    return packed if len(data) <= _RATIO * len(packed) else zlib.compress(data, 0)


def _inflate(packed):
    reader = zlib.decompressobj()
    data = reader.decompress(packed, _RATIO * len(packed))
    if not reader.eof:
        raise ValueError("length")
    return data
