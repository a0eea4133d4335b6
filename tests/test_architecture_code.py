"""The grammar of the certify example: words that end by themselves, and what they cost."""

import architecture_code as code
import keras
import numpy as np
import pytest

from tf_genbounds.compression.codes.arithmetic_coder import Decoder
from tf_genbounds.compression.codes.arithmetic_coder import Encoder

LENGTH = 16


def endings():
    """Of all strings of `LENGTH` bits: the lengths of the words they begin with."""
    found = {}
    for number in range(2**LENGTH):
        string = f"{number:0{LENGTH}b}"
        try:
            architecture, rest = code.decode(string)
        except ValueError:
            continue
        word = string[: LENGTH - len(rest)]
        # The same word whatever follows, and the one that is written.
        assert found.setdefault(word, architecture) == architecture
    return found


def test_kraft_sum_is_at_most_one():
    found = endings()
    # Bits: two flags, width 1, end, two flags. Then one gamma code each is longer.
    assert min(map(len, found)) == 2 + 1 + 3 + 2
    assert len(found) > 100 and len(set(found.values())) == len(found)
    assert 0.1 < sum(2.0 ** -len(word) for word in found) <= 1
    for word, architecture in found.items():
        assert code.encode(architecture) == word
    # No word is the beginning of another.
    ordered = sorted(found)
    assert not any(b.startswith(a) for a, b in zip(ordered, ordered[1:], strict=False))


def random_architecture(generator):
    def number(most):
        return int(generator.integers(1, most))

    layers = []
    for kind in generator.choice(code.KINDS[1:], generator.integers(0, 8)):
        fields = {
            field: bool(number(3) - 1) if field in code.FLAGS else number(9)
            for field in code.FIELDS[kind]
        }
        if "size" in fields and not kind.endswith("pool"):
            fields["size"] = 2 * fields["size"] - 1
        layers.append(code.Layer(str(kind), **fields))
    flags = {
        name: bool(number(3) - 1) for name in ("average", "bias", "deskew", "opponents")
    }
    return code.Architecture(number(100), tuple(layers), **flags)


def test_every_architecture_is_read_as_it_was_written():
    generator = np.random.default_rng(0)
    for _ in range(300):
        architecture = random_architecture(generator)
        word = code.encode(architecture)
        assert code.decode(word + "0110") == (architecture, "0110")


def test_bits_of_the_network_of_the_example_by_hand():
    # Kind, size 5 (the third odd number), order, strides, filters, bias, relu.
    first = 3 + 3 + 3 + 3 + 1 + 2
    second = 3 + 3 + 3 + 1 + 2
    third = 3 + 3 + 3 + 3 + 2
    mixes = 2 * (3 + 3 + 2)
    # Preparation; width 8 = 2**3; end; head.
    expected = 2 + 7 + first + second + third + mixes + 3 + 2
    assert expected == 71
    architecture = code.small(8, deskew=True)
    index, count = code.choice(architecture)
    assert count == 2**expected
    assert code.decode(f"{index:0{expected}b}") == (architecture, "")
    # The code word of a certificate pays that, and says which.
    encoder = Encoder()
    encoder.integer(index, count)
    assert encoder.items["other"] == pytest.approx(expected, abs=1e-9)
    assert Decoder(encoder.finish()).integer(count) == index


def test_the_network_is_that_of_the_word():
    model = code.network(code.small(8), (28, 28, 1))
    # 10 cosines: 1 to 8 channels, of 8, and of 16; mixes to 16 and 24; 10 classes.
    weights = 10 * 8 + 10 * 8 + 8 * 16 + 10 * 16 + 16 * 24 + 24 * 10
    assert model.count_params() == weights + 8 + 16 + 24 == 1072 + 48
    layers = (
        code.Layer("conv", size=3, filters=2, relu=True),
        code.Layer("max_pool", size=2),
        code.Layer("depthwise", size=5, strides=2, bias=True),
        code.Layer("average_pool", size=2),
    )
    model = code.network(
        code.Architecture(3, layers, average=True, bias=True), (16, 16, 2), classes=4
    )
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == [
        *("Conv2D", "MaxPooling2D", "DepthwiseConv2D", "AveragePooling2D"),
        *("GlobalAveragePooling2D", "Dense"),
    ]
    assert model.count_params() == 9 * 2 * 6 + (25 * 6 + 6) + (6 * 4 + 4)
    assert model.layers[0].activation is keras.activations.relu
    assert model.layers[2].output.shape == (None, 4, 4, 6)


def test_what_the_grammar_does_not_have_is_refused():
    for architecture, message in (
        (code.Architecture(0, ()), "Received: 0"),
        (code.Architecture(1, (code.Layer("conv", size=4),)), "size=4"),
    ):
        with pytest.raises(ValueError, match=message):
            code.encode(architecture)
    with pytest.raises(ValueError, match="no end"):
        code.decode("0010")
