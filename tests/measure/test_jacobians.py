"""Interlayer cushions and spreads, through `measure`."""

import keras
import models
import numpy as np
import pytest
from keras import layers

from tf_genbounds import measure
from tf_genbounds.functional.random import signs

QUANTITIES = ["interlayer_cushion", "jacobian_spread"]


def multilayer(widths, weights, use_bias=False, activation="relu"):
    """A perceptron with given kernels."""
    hidden = [
        layers.Dense(w, activation, use_bias, name=f"layer_{k + 1}")
        for k, w in enumerate(widths[1:-1])
    ]
    last = layers.Dense(widths[-1], use_bias=use_bias, name="last")
    model = keras.Sequential([keras.Input((widths[0],)), *hidden, last])
    model.set_weights(weights)
    return model


def random_multilayer(widths=(6, 9, 7, 5), seed=0, **options):
    generator = np.random.default_rng(seed)
    kernels = [
        generator.normal(size=shape)
        for shape in zip(widths[:-1], widths[1:], strict=True)
    ]
    return multilayer(widths, kernels, **options), kernels


def slow_jacobians(kernels, x):
    """`J^{i,j}` of a ReLU perceptron, written out: `A^j D ... A^{i+1} D`."""
    pre = []
    for kernel in kernels:
        x = x @ kernel
        pre.append(x)
        x = np.maximum(x, 0)
    found = {}
    for i in range(len(kernels)):
        jacobian = np.eye(len(pre[i]))
        for j in range(i + 1, len(kernels)):
            jacobian = kernels[j].T @ np.diag(pre[j - 1] > 0) @ jacobian
            found[i, j] = jacobian, pre[i]
    return found


def measured(model, x, **options):
    return measure(model, x, quantities=QUANTITIES, verbose=0, **options)


def test_vectors_of_the_theory():
    model = multilayer([2, 2, 1], [np.diag([1.0, 2.0]), np.array([[1.0], [1.0]])])
    result = measured(model, np.array([[3.0, 1.0], [3.0, -1.0]], "float32"))
    np.testing.assert_allclose(
        result.distribution("interlayer_cushion", ("layer_1", "last")),
        [0.98058068, 0.83205029],
        rtol=1e-6,
    )
    first, last = result.layers.values()
    assert first.unclipped_interlayer_cushion == pytest.approx(0.83205029)
    assert first.minimal_interlayer_cushion == pytest.approx(1 / np.sqrt(2))
    assert last.minimal_interlayer_cushion == 1
    assert result.interlayer_cushion["layer_1", "layer_1"] == 2**-0.5
    assert last.unclipped_interlayer_cushion is None


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("batch_size", [5, 64])
def test_exact_equals_the_written_out_jacobian(batch_size, jit_compile):
    model, kernels = random_multilayer()
    x = np.random.default_rng(1).normal(size=(12, 6)).astype("float32")
    result = measured(
        model,
        x,
        exact=True,
        num_probes=4,
        batch_size=batch_size,
        jit_compile=jit_compile,
    )
    names = list(result.layers)
    expected = {}
    for row in x:
        for (i, j), (jacobian, pre) in slow_jacobians(kernels, row).items():
            cushion = np.linalg.norm(jacobian @ pre) / (
                np.linalg.norm(jacobian) * np.linalg.norm(pre)
            )
            expected.setdefault((names[i], names[j]), []).append(cushion)
    assert list(result.pairs) == list(expected)
    for pair, cushions in expected.items():
        np.testing.assert_allclose(
            result.distribution("interlayer_cushion", pair), cushions, rtol=1e-4
        )
        assert result.interlayer_cushion[pair] == pytest.approx(min(cushions), rel=1e-4)
        assert result.pairs[pair].num_probes is None
        assert result.pairs[pair].standard_error == 0
        assert result.pairs[pair].cut
    for name, layer in result.layers.items():
        later = [min(c) for (i, _), c in expected.items() if i == name]
        least = min([*later, layer.num_channels**-0.5])
        assert layer.minimal_interlayer_cushion == pytest.approx(least, rel=1e-4)
        assert layer.jacobian_spread == pytest.approx(1)


def test_random_vectors_agree_with_exact_within_their_error():
    model, _ = random_multilayer((6, 40, 40, 30))
    x = np.random.default_rng(1).normal(size=(60, 6)).astype("float32")
    exact = measured(model, x, exact=True)
    estimate = measured(model, x, num_probes=24)
    deviations = []
    for pair in exact.pairs:
        assert estimate.pairs[pair].num_probes == 24
        error = estimate.distributions["standard_error", pair]
        gap = estimate.distribution("interlayer_cushion", pair) - (
            exact.distribution("interlayer_cushion", pair)
        )
        deviations.append(gap / error)
    # A test statistic with an estimated error, so the tails are heavy.
    assert 0.8 < np.std(deviations) < 1.25
    assert abs(np.mean(deviations)) < 0.3


@pytest.mark.parametrize("num_probes", [1, 2, 3])
def test_the_standard_error_is_that_of_a_mean_of_few(num_probes):
    model, kernels = random_multilayer((6, 9, 7))
    x = np.random.default_rng(1).normal(size=(5, 6)).astype("float32")
    result = measured(model, x, num_probes=num_probes, seed=3)
    pair = "layer_1", "last"
    for n, row in enumerate(x):
        jacobian, pre = slow_jacobians(kernels, row)[0, 1]
        vectors = signs([3, 1, n, np.arange(num_probes, dtype="int32")], 7)
        squares = np.sum((np.asarray(vectors) @ jacobian) ** 2, axis=1)
        cushion = np.linalg.norm(jacobian @ pre) / (
            np.sqrt(squares.mean()) * np.linalg.norm(pre)
        )
        found = result.distribution("interlayer_cushion", pair)[n]
        assert found == pytest.approx(cushion, rel=1e-4)
        error = result.distributions["standard_error", pair][n]
        if num_probes == 1:
            assert np.isnan(error)
            continue
        # Of the mean of so many draws, whose variance has one degree less; half
        # of it is the relative error of a root.
        of_mean = np.std(squares, ddof=1) / np.sqrt(num_probes)
        expected = cushion * of_mean / (2 * squares.mean())
        assert error == pytest.approx(expected, rel=1e-3)


def test_result_depends_on_the_seed_alone():
    model, _ = random_multilayer((6, 40, 40, 30))
    x = np.random.default_rng(1).normal(size=(11, 6)).astype("float32")
    pair = "layer_1", "layer_2"
    results = [
        measured(model, x, **options).distribution("interlayer_cushion", pair)
        for options in (
            {},
            {"batch_size": 3},
            {"jit_compile": True},
            {"layers": ["layer_1", "layer_2"]},
            {"layers": ["layer_2", "layer_1"]},
        )
    ]
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=1e-5)
    other = measured(model, x, seed=1).distribution("interlayer_cushion", pair)
    assert not np.allclose(other, results[0], rtol=1e-3)


def test_without_bias_a_jacobian_returns_the_pre_activation():
    # J x^i = x^j, so that mu is made of what the layers pass on.
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(4, 3, activation="relu", use_bias=False, name="a"),
            layers.MaxPooling2D(3, 1, padding="same"),
            layers.Conv2D(3, 3, activation="leaky_relu", use_bias=False, name="b"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(4, use_bias=False, name="c"),
        ]
    )
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype("float32")
    result = measured(model, x, exact=True)
    outputs = np.linalg.norm(np.asarray(model(x)), axis=1)
    b = keras.ops.conv(model.layers[1](model.layers[0](x)), model.layers[2].kernel)
    norm = np.linalg.norm(np.asarray(b).reshape(3, -1), axis=1)
    cushions = result.distribution("interlayer_cushion", ("b", "c"))
    # J from b to c: dense after average pooling and leaky ReLU's slopes.
    slopes = np.where(np.asarray(b) > 0, 1, 0.2).reshape(3, 2, 2, 2, 2, 3)
    kernel = np.asarray(model.layers[-1].kernel).reshape(2, 2, 3, 4)
    jacobian = slopes[..., None] * kernel[None, :, None, :, None] / 4
    size = np.sqrt((jacobian**2).sum(axis=(1, 2, 3, 4, 5, 6)))
    np.testing.assert_allclose(cushions, 4 * outputs / (size * norm), rtol=1e-4)


def test_orthogonal_kernels_pass_everything_on():
    orthogonal = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    model = multilayer([5, 5, 5, 5], [orthogonal] * 3, activation=None)
    result = measured(model, np.eye(5, dtype="float32"), exact=True)
    assert len(result.interlayer_cushion) == 6
    for cushion in result.interlayer_cushion.values():
        assert cushion == pytest.approx(1 / np.sqrt(5), rel=1e-5)


def test_invariant_to_the_scale_of_each_layer():
    model, kernels = random_multilayer()
    x = np.random.default_rng(1).normal(size=(4, 6)).astype("float32")
    expected = measured(model, x)
    model.set_weights([1e3 * kernels[0], 1e-4 * kernels[1], 7 * kernels[2]])
    result = measured(model, x)
    for pair, cushion in expected.interlayer_cushion.items():
        assert result.interlayer_cushion[pair] == pytest.approx(cushion, rel=1e-4)


@pytest.mark.parametrize("scale", [1e-12, 1e9])
def test_tiny_and_huge_jacobians(scale):
    # The square of the product of three kernels is no float32.
    model, kernels = random_multilayer()
    x = np.random.default_rng(1).normal(size=(4, 6)).astype("float32")
    expected = measured(model, x, exact=True)
    model.set_weights([scale * kernel for kernel in kernels])
    for options in ({"exact": True}, {}):
        result = measured(model, x, **options)
        for pair, cushion in expected.interlayer_cushion.items():
            assert result.interlayer_cushion[pair] == pytest.approx(cushion, rel=1e-4)


def test_dead_network_has_no_interlayer_constraint():
    model = models.dense()
    x, _ = models.data(model)
    kernel, bias = model.layers[0].get_weights()
    model.layers[0].set_weights([kernel, bias - 1000])
    # J = 0: nothing is asked of the cushion.
    assert measured(model, x).interlayer_cushion["first", "second"] == np.inf


def test_spread_of_a_network_that_reads_one_pixel():
    kernel = np.zeros((16, 2))
    kernel[5] = 1
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.Conv2D(1, 1, use_bias=False, name="conv"),
            layers.Flatten(),
            layers.Dense(2, use_bias=False, name="dense"),
        ]
    )
    model.set_weights([np.ones((1, 1, 1, 1)), kernel])
    x = np.ones((2, 4, 4, 1), "float32")
    conv = measured(model, x).layers["conv"]
    assert conv.jacobian_spread == pytest.approx(4)
    # The one pixel of 16 holds a quarter of the norm of x.
    assert conv.unclipped_interlayer_cushion == pytest.approx(1)
    assert conv.minimal_interlayer_cushion == pytest.approx(1)


def test_a_layer_beside_a_skip_is_marked():
    model = models.residual()
    result = measured(model, models.data(model)[0])
    cuts = {pair: numbers.cut for pair, numbers in result.pairs.items()}
    assert cuts == {
        ("stem", "branch"): True,
        ("stem", "logits"): True,
        ("branch", "logits"): False,
    }
    assert any("1 of 3 pairs" in note for note in result.notes)


def test_a_network_with_one_layer_has_no_pairs():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, name="only")])
    result = measured(model, np.ones((2, 6), "float32"))
    assert result.pairs == {}
    assert result.layers["only"].minimal_interlayer_cushion == 0.5


@pytest.mark.parametrize("seed", range(4))
def test_random_architectures_obey_the_bounds(seed):
    model, shape = models.random_architecture(seed)
    x = np.random.default_rng(seed).normal(size=(6, *shape)).astype("float32")
    result = measured(model, x, num_probes=8)
    assert result.pairs
    for (source, _), pair in result.pairs.items():
        pixels = np.prod(result.layers[source].output_shape[:-1])
        # An estimate of the norm may be too small by some errors.
        slack = 6 * pair.standard_error + 1e-4
        assert 0 <= pair.interlayer_cushion <= np.sqrt(pixels) + slack
    for layer in result.layers.values():
        pixels = np.prod(layer.output_shape[:-1])
        assert layer.jacobian_spread <= np.sqrt(pixels) + 1e-4
        assert layer.minimal_interlayer_cushion <= layer.num_channels**-0.5 + 1e-6
