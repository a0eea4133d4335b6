"""Random numbers that are the same on every backend: hashes of their keys.

A random generator of Keras draws other numbers on TensorFlow, under its XLA
and on JAX. These are a function of integer keys (a seed, a sample, a layer,
...) alone, need no state, and any one of them can be had without the others.
"""

import math

from keras import ops


def bits(keys, size):
    """Hashes keys and a counter into 32 random bits each.

    Args:
        keys: List of integers, or of integer tensors whose shapes broadcast
            to one shape.
        size: Integer, how many numbers for each key.

    Returns:
        Uint32 tensor of the keys' shape and a last axis of length `size`.
    """
    state = uint32(0)
    for key in keys:
        # The constant keeps keys of 0 from being absorbed.
        state = mix(ops.bitwise_xor(mix(state + uint32(0x9E3779B9)), uint32(key)))
    counter = mix(ops.cast(ops.arange(size, dtype="int32"), "uint32"))
    return mix(ops.bitwise_xor(state[..., None], counter))


def signs(keys, size):
    """Draws Rademacher signs, `-1` and `1`; see `bits`.

    Returns:
        Float32 tensor.
    """
    words = bits(keys, -(-size // 32))
    # Each of the 32 bits is a sign.
    shifts = ops.cast(ops.arange(32, dtype="int32"), "uint32")
    one = ops.bitwise_and(ops.right_shift(words[..., None], shifts), uint32(1))
    flat = ops.reshape(ops.cast(one, "float32"), (*words.shape[:-1], -1))
    return 1.0 - 2.0 * flat[..., :size]


def normals(keys, size):
    """Draws independent standard normal numbers; see `bits`.

    Returns:
        Float32 tensor.
    """
    half = -(-size // 2)
    # 24 bits are what a float32 holds; the half keeps the logarithm finite.
    uniform = (
        ops.cast(ops.right_shift(bits(keys, 2 * half), uint32(8)), "float32") + 0.5
    ) / 2**24
    radius = ops.sqrt(-2.0 * ops.log(uniform[..., :half]))
    angle = 2 * math.pi * uniform[..., half:]
    pairs = [radius * ops.cos(angle), radius * ops.sin(angle)]
    return ops.concatenate(pairs, axis=-1)[..., :size]


def mix(bits):
    """The finalizer of MurmurHash3: every input bit moves every output bit."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits = ops.bitwise_xor(bits, ops.right_shift(bits, uint32(shift)))
        bits = bits * uint32(factor)
    return ops.bitwise_xor(bits, ops.right_shift(bits, uint32(16)))


def uint32(value):
    """Makes a uint32 tensor of an integer (its lowest 32 bits) or a tensor."""
    if isinstance(value, int):
        return ops.convert_to_tensor(value & 0xFFFFFFFF, dtype="uint32")
    return ops.cast(value, "uint32")
