"""The code is real: what is decoded, what it costs, and that nothing clashes."""

import itertools
import math
import struct

import numpy as np
import pytest

from tf_genbounds.compression.codes.arithmetic_coder import Decoder
from tf_genbounds.compression.codes.arithmetic_coder import Encoder
from tf_genbounds.compression.codes.arithmetic_coder import KrichevskyTrofimov
from tf_genbounds.compression.codes.arithmetic_coder import code_length


def random_message(generator):
    """A list of `(method, arguments of the reader, value)`."""
    message = []
    for _ in range(generator.integers(1, 25)):
        kind = generator.integers(4)
        if kind == 0:
            counts = [1, 2, 3, 1000, 2**32, 2**50 + 12345]
            count = counts[generator.integers(len(counts))]
            message.append(("integer", (count,), int(generator.integers(count))))
        elif kind == 1:
            value = struct.unpack("<f", struct.pack("<f", generator.normal()))[0]
            message.append(("number", (), value))
        elif kind == 2:
            value = int(10 ** generator.uniform(0, 12))
            message.append(("positive", (), value))
        else:
            alphabet = int(generator.integers(1, 9))
            values = generator.integers(alphabet, size=generator.integers(60))
            message.append(("symbols", (len(values), alphabet), values.tolist()))
    return message


def encoded(message):
    encoder = Encoder()
    for method, arguments, value in message:
        getattr(encoder, method)(value, *arguments[-1:])
    return encoder.finish(), encoder


@pytest.mark.parametrize("seed", range(100))
def test_everything_is_read_back_whatever_follows(seed):
    """That any bits may follow is what makes the code free of prefixes."""
    generator = np.random.default_rng(seed)
    message = random_message(generator)
    bits, encoder = encoded(message)
    assert set(bits) <= {0, 1}
    assert sum(encoder.items.values()) <= len(bits) <= sum(encoder.items.values()) + 2
    for tail in ([], [0] * 100, [1] * 100, generator.integers(2, size=100).tolist()):
        decoder = Decoder(bits + tail)
        for method, arguments, value in message:
            assert getattr(decoder, method)(*arguments) == value


def test_no_code_word_is_a_prefix_of_another():
    words = []
    for values in itertools.product(range(3), repeat=4):
        encoder = Encoder()
        encoder.symbols(values, 3)
        words.append("".join(map(str, encoder.finish())))
    for first, second in itertools.permutations(words, 2):
        assert not second.startswith(first)
    # Kraft's inequality follows, and holds.
    assert sum(2.0 ** -len(word) for word in words) <= 1


def test_lengths_are_those_of_the_formulas():
    encoder = Encoder()
    encoder.name("a")
    encoder.integer(5, 1000)
    encoder.name("b")
    encoder.positive(9)
    encoder.name("c")
    encoder.number(1.5, "e")
    encoder.number(1.5)
    encoder.name("d")
    values = [0, 2, 2, 1, 2, 2, 2, 0]
    encoder.symbols(values, 4)
    items = encoder.items
    assert items["a"] == pytest.approx(math.log2(1000))
    assert items["b"] == pytest.approx(2 * math.floor(math.log2(9)) + 1)
    assert items["c"] == pytest.approx(48)
    assert items["d"] == pytest.approx(code_length(np.bincount(values, minlength=4)))


def test_code_length_is_the_product_of_the_probabilities():
    for counts in ([4, 0, 0], [1, 2, 3], [0, 7], [5]):
        model = KrichevskyTrofimov(len(counts))
        probability = 1.0
        for symbol, count in enumerate(counts):
            for _ in range(count):
                start, stop, total = model.interval(symbol)
                probability *= (stop - start) / total
                model.add(symbol)
        assert code_length(counts) == pytest.approx(-math.log2(probability), abs=1e-9)
    # Within half a log for each free probability of the entropy.
    counts = np.array([600, 300, 100])
    entropy = -np.sum(counts * np.log2(counts / 1000))
    assert 0 < code_length(counts.tolist()) - entropy < np.log2(1000) + 3


@pytest.mark.parametrize("exponent", [40, 41, 72, 73, 200])
@pytest.mark.parametrize("extra", [0, 1])
def test_an_integer_of_any_size_is_read_as_it_was_written(exponent, extra):
    count = 2**exponent + extra
    for value in (0, 1, count // 3, count - 1):
        encoder = Encoder()
        encoder.integer(value, count)
        encoder.integer(3, 7)
        decoder = Decoder(encoder.finish())
        assert (decoder.integer(count), decoder.integer(7)) == (value, 3)
        assert encoder.items["other"] < exponent + extra + np.log2(7) + 1e-6


def test_long_messages_keep_their_length():
    values = np.random.default_rng(0).choice(3, size=20000, p=[0.9, 0.07, 0.03])
    encoder = Encoder()
    encoder.symbols(values.tolist(), 3)
    bits = encoder.finish()
    exact = code_length(np.bincount(values).tolist())
    assert exact <= len(bits) <= exact + 2.01
    assert Decoder(bits).symbols(20000, 3) == values.tolist()


def test_what_is_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"in \[0, 4\). Received: value=4"):
        Encoder().integer(4, 4)
    with pytest.raises(ValueError, match="a number has no end"):
        Decoder([0] * 100).positive()
