import keras
import models
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tf_genbounds import measure
from tf_genbounds.measure.quantities import OF_SAMPLES
from tf_genbounds.measure.quantities import OF_WEIGHTS

CHEAP = [*OF_WEIGHTS, *OF_SAMPLES]


def linear_part(function, shape):
    """The matrix of an affine function, by feeding it the basis."""
    size = int(np.prod(shape))
    basis = np.eye(size, dtype="float32").reshape(size, *shape)
    zero = np.zeros((1, *shape), "float32")
    columns = np.asarray(function(basis)) - np.asarray(function(zero))
    return columns.reshape(size, -1).T


def norms(x):
    return np.linalg.norm(np.asarray(x).reshape(len(x), -1), axis=1)


def slow_convolutional(model, x, y):
    """Measures `models.convolutional()` layer by layer, with dense matrices."""
    conv, norm, relu, pool, conv2, flat, _, logits = model.layers
    gain = np.asarray(norm.gamma) / np.sqrt(
        np.asarray(norm.moving_variance) + norm.epsilon
    )
    pre_1 = norm(conv(x), training=False)
    in_2 = pool(relu(pre_1))
    conv2_linear = layers.Conv2D(4, 3, strides=2)
    conv2_linear.build(in_2.shape)
    conv2_linear.set_weights(conv2.get_weights())
    pre_2 = conv2_linear(in_2)
    in_3 = flat(conv2(in_2))
    maps = {
        "conv": (
            lambda v: norm(conv(v), training=False),
            x,
            np.asarray(conv.kernel) * gain,
            np.ones(len(x)),
        ),
        "conv2": (
            conv2_linear,
            in_2,
            np.asarray(conv2.kernel),
            norms(pre_1) / norms(relu(pre_1)),
        ),
        "logits": (
            logits,
            in_3,
            np.asarray(logits.kernel),
            norms(pre_2) / norms(conv2(in_2)),
        ),
    }
    out = np.asarray(logits(in_3))
    margins = [row[k] - max(np.delete(row, k)) for row, k in zip(out, y, strict=True)]
    return maps, np.array(margins)


@pytest.mark.parametrize("batch_size", [20, 7, 64])
def test_equals_a_slow_twin(batch_size):
    model = models.convolutional()
    x, y = models.data(model)
    result = measure(model, (x, y), quantities=CHEAP, batch_size=batch_size, verbose=0)
    maps, margins = slow_convolutional(model, x, y)
    assert list(result.layers) == list(maps)
    for name, (function, inputs, kernel, contractions) in maps.items():
        layer = result.layers[name]
        matrix = linear_part(function, inputs.shape[1:])
        kernel_matrix = kernel.reshape(-1, kernel.shape[-1])
        frobenius = np.linalg.norm(kernel)
        cushions = norms(np.asarray(inputs).reshape(len(x), -1) @ matrix.T) / (
            frobenius * norms(inputs)
        )
        close = {"rtol": 1e-4, "err_msg": name}
        spectral = np.linalg.norm(matrix, 2)
        kernel_spectral = np.linalg.norm(kernel_matrix, 2)
        np.testing.assert_allclose(layer.spectral_norm, spectral, rtol=5e-3)
        np.testing.assert_allclose(
            layer.kernel_spectral_norm, kernel_spectral, rtol=5e-3
        )
        np.testing.assert_allclose(layer.frobenius_norm, frobenius, **close)
        np.testing.assert_allclose(
            layer.operator_frobenius_norm, np.linalg.norm(matrix), **close
        )
        np.testing.assert_allclose(
            layer.stable_rank, (frobenius / kernel_spectral) ** 2, rtol=1e-2
        )
        np.testing.assert_allclose(
            layer.operator_stable_rank,
            (np.linalg.norm(matrix) / spectral) ** 2,
            rtol=1e-2,
        )
        np.testing.assert_allclose(
            result.distribution("layer_cushion", name), cushions, **close
        )
        np.testing.assert_allclose(layer.layer_cushion, cushions.min(), **close)
        np.testing.assert_allclose(
            layer.activation_contraction, contractions.max(), **close
        )
    assert result.layers["conv"].batch_norm == "norm"
    np.testing.assert_allclose(result.margins, margins, rtol=1e-3, atol=1e-4)
    assert result.train_error == np.mean(margins <= 0)
    assert result.num_samples == len(x)
    assert result.settings["bias"] == "ignore"
    assert result.unsupported == {}


@pytest.mark.parametrize("make", models.ALL)
def test_every_kind_of_model_is_measured(make):
    model = make()
    result = measure(model, models.data(model), verbose=0)
    assert result.layers
    for layer in result.layers.values():
        assert layer.converged
        assert layer.layer_cushion > 0
        assert layer.stable_rank >= 1 - 1e-4
        # A bound of the theory, which no measurement may break.
        limit = 1 / np.sqrt(layer.stable_rank)
        if layer.input_shape == layer.input_shape[-1:]:
            assert layer.layer_cushion <= limit + 1e-4


def test_shared_and_nested_values_are_those_of_the_flat_network():
    shared = models.shared()
    x, y = models.data(shared)
    layer, last = shared.layers[1], shared.layers[-1]
    flat = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(6, activation="relu", name="a"),
            layers.Dense(6, activation="relu", name="b"),
            layers.Dense(3, name="c"),
        ]
    )
    flat.set_weights([*layer.get_weights(), *layer.get_weights(), *last.get_weights()])
    for one, other in zip(
        measure(shared, (x, y), verbose=0).layers.values(),
        measure(flat, (x, y), verbose=0).layers.values(),
        strict=True,
    ):
        for field in (
            "minimal_interlayer_cushion",
            "unclipped_interlayer_cushion",
            "jacobian_spread",
        ):
            value = getattr(other, field)
            if value is not None:  # The last layer has none after it.
                value = pytest.approx(value, rel=1e-4)
            assert getattr(one, field) == value
        assert one.layer_cushion == pytest.approx(other.layer_cushion, rel=1e-5)
        assert one.activation_contraction == pytest.approx(
            other.activation_contraction, rel=1e-5
        )


def test_datasets_give_what_arrays_give():
    model = models.dense()
    x, y = models.data(model)
    expected = measure(model, (x, y), quantities=CHEAP, verbose=0)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(6)
    for result in (
        measure(model, dataset, quantities=CHEAP, verbose=0),
        measure(model, (x, np.eye(3)[y]), quantities=CHEAP, verbose=0),
    ):
        np.testing.assert_allclose(result.margins, expected.margins, rtol=1e-5)
        assert result.layers["first"].layer_cushion == pytest.approx(
            expected.layers["first"].layer_cushion, rel=1e-5
        )


def test_num_samples_takes_the_first():
    model = models.dense()
    x, y = models.data(model)
    first = measure(model, (x, y), num_samples=7, batch_size=4, verbose=0)
    every = measure(model, (x, y), verbose=0)
    np.testing.assert_allclose(first.margins, every.margins[:7], rtol=1e-5)
    for key, values in first.distributions.items():
        np.testing.assert_allclose(
            values, every.distributions[key][:7], rtol=1e-3, err_msg=str(key)
        )


def test_without_labels_there_are_no_margins():
    model = models.dense()
    x, _ = models.data(model)
    result = measure(model, x, verbose=0)
    assert result.margins is None and result.train_error is None
    with pytest.raises(ValueError, match="Margins need labels"):
        measure(model, x, quantities=["margins"], verbose=0)


@pytest.mark.parametrize(
    "quantity, fields",
    [
        ("spectral_norm", {"spectral_norm", "kernel_spectral_norm", "converged"}),
        ("frobenius_norm", {"frobenius_norm", "operator_frobenius_norm"}),
        ("stable_rank", {"stable_rank", "operator_stable_rank", "converged"}),
        ("layer_cushion", {"layer_cushion", "num_degenerate"}),
        (
            "activation_contraction",
            {"activation_contraction", "pooled_contraction"},
        ),
    ],
)
def test_measures_what_is_asked_and_no_more(quantity, fields):
    model = models.dense()
    result = measure(model, models.data(model), quantities=[quantity], verbose=0)
    facts = {
        "name",
        "kind",
        "input_shape",
        "output_shape",
        "num_parameters",
        "num_channels",
        "patch_overlap",
        "batch_norm",
    }
    for layer in result.layers.values():
        found = {k for k, v in vars(layer).items() if v is not None}
        assert found - facts == fields
    assert result.margins is None


def test_chosen_layers_only():
    model = models.dense()
    result = measure(model, models.data(model), layers=["second"], verbose=0)
    assert list(result.layers) == ["second"]


def test_a_dead_layer_is_reported_as_it_is():
    model = models.dense()
    x, y = models.data(model)
    kernel, bias = model.layers[0].get_weights()
    model.layers[0].set_weights([kernel, bias - 1000])
    second = measure(model, (x, y), verbose=0).layers["second"]
    assert second.activation_contraction == np.inf
    assert second.layer_cushion == np.inf
    assert second.num_degenerate == len(x)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_no_number_of_a_layer_with_nan_constrains_less_than_another(jit_compile):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(20, "relu", use_bias=False, name="first"),
            layers.Dense(20, "relu", use_bias=False, name="second"),
            layers.Dense(3, use_bias=False, name="third"),
        ]
    )
    kernel = np.array(model.layers[1].kernel)
    kernel[3, 4] = np.nan
    model.layers[1].set_weights([kernel])
    x, _ = models.data(models.dense())
    result = measure(model, x, num_draws=1, jit_compile=jit_compile, verbose=0)
    first, second, third = result.layers.values()
    for layer, fields in (
        (first, ["unclipped_interlayer_cushion", "minimal_interlayer_cushion",
                 "jacobian_spread"]),
        (second, ["layer_cushion", "unclipped_interlayer_cushion", "spectral_norm",
                  "frobenius_norm", "stable_rank", "l1_inf_norm"]),
        (third, ["layer_cushion", "activation_contraction", "pooled_contraction"]),
    ):  # fmt: skip
        found = {field: getattr(layer, field) for field in fields}
        assert all(map(np.isnan, found.values())), found
    assert np.isnan(result.smoothness())


def test_probabilities_that_cannot_be_removed_are_noted():
    class Hidden(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, x):
            return keras.ops.softmax(self.dense(x))

    model = Hidden()
    x, y = models.data(models.dense())
    model(x)
    assert "probability vector" in measure(model, (x, y), verbose=0).notes[-1]


def test_mixed_precision_is_measured_in_float32():
    plain = models.dense()
    x, y = models.data(plain)
    mixed = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, activation="relu", name="first", dtype="mixed_float16"),
            layers.Dense(3, name="second", dtype="mixed_float16"),
        ]
    )
    # These would overflow in float16.
    plain.set_weights([1e4 * w for w in plain.get_weights()])
    mixed.set_weights(plain.get_weights())
    expected = measure(plain, (x, y), verbose=0)
    result = measure(mixed, (x, y), verbose=0)
    assert result.layers == expected.layers
    np.testing.assert_allclose(result.margins, expected.margins, rtol=1e-5)


def test_several_inputs():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    joint = layers.Concatenate()([a, b])
    model = keras.Model({"a": a, "b": b}, layers.Dense(3, name="dense")(joint))
    x, y = models.data(models.dense())
    result = measure(model, ({"a": x[:, :3], "b": x[:, 3:]}, y), verbose=0)
    kernel, bias = model.get_weights()
    expected = norms(x @ kernel) / (np.linalg.norm(kernel) * norms(x))
    np.testing.assert_allclose(
        result.distribution("layer_cushion", "dense"), expected, rtol=1e-4
    )


DENSE_X, DENSE_Y = np.ones((5, 6), "float32"), np.array([0, 1, 2, 0, 1])


@pytest.mark.parametrize(
    "make, data, options, message",
    [
        (models.Subclassed, (DENSE_X, DENSE_Y), {}, "must be built"),
        (
            lambda: keras.Sequential([keras.Input((6,)), layers.ReLU()]),
            (DENSE_X, DENSE_Y),
            {},
            "no linear layer",
        ),
        (models.dense, (DENSE_X[:, :5], DENSE_Y), {}, r"shape \[\(None, 5\)\]"),
        (models.dense, (DENSE_X[:0], DENSE_Y[:0]), {}, "at least one sample"),
        (models.dense, (DENSE_X * np.nan, DENSE_Y), {}, "at sample 0"),
        (models.dense, (DENSE_X, DENSE_Y + 1), {}, "y=3 at sample 2"),
        (models.dense, (DENSE_X, DENSE_Y / 2), {}, "must be integers"),
        (
            models.dense,
            (DENSE_X, DENSE_Y),
            {"quantities": ["layer_cusion"]},
            "Did you mean 'layer_cushion'",
        ),
        (
            models.dense,
            (DENSE_X, DENSE_Y),
            {"layers": ["frist"]},
            "Did you mean 'first'",
        ),
        (models.dense, (DENSE_X, DENSE_Y), {"bias": "error"}, "has a bias"),
        (models.dense, (DENSE_X, DENSE_Y), {"bias": "keep"}, "`bias` must be"),
        (models.dense, (DENSE_X, DENSE_Y), {"batch_size": 0}, "`batch_size`"),
        (models.two_outputs, (DENSE_X, DENSE_Y), {}, "Margins need one output"),
        (
            models.two_outputs,
            (DENSE_X, DENSE_Y),
            {"output": "hed"},
            "Did you mean 'head'",
        ),
        (models.dense, (DENSE_X, DENSE_Y), {"output": 1}, "`output` must be"),
        (models.dense, (DENSE_X, DENSE_Y), {"num_probes": 0}, "`num_probes`"),
        (models.dense, (DENSE_X, DENSE_Y), {"noise": "white"}, "`noise` must"),
        (
            models.dense,
            (DENSE_X, DENSE_Y),
            {"initial_weights": [np.zeros((6, 5))]},
            "`initial_weights` must have the shapes",
        ),
    ],
)
def test_bad_input(make, data, options, message):
    with pytest.raises(ValueError, match=message):
        measure(make(), data, verbose=0, **options)


def test_progress_only_when_asked(capsys):
    model = models.dense()
    measure(model, models.data(model))  # Not a terminal.
    assert capsys.readouterr().out == ""
    measure(model, models.data(model), quantities=["margins"], verbose=1)
    assert "1/1" in capsys.readouterr().out


class Sizes(keras.utils.PyDataset):
    """Batches of images, each batch of another size."""

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes

    @property
    def num_batches(self):
        return len(self.sizes)

    def __getitem__(self, index):
        shape = (4, *self.sizes[index], 1)
        x = np.random.default_rng(shape).normal(size=shape)
        return x.astype("float32"), np.arange(4) % 3


def any_size():
    stack = [layers.Conv2D(2, 3, use_bias=False, name="conv")]
    stack += [layers.GlobalAveragePooling2D(), layers.Dense(3, name="dense")]
    return models.randomize(keras.Sequential([keras.Input((None, None, 1)), *stack]))


@pytest.mark.parametrize("sizes", [[(7, 5), (4, 6)], [(4, 6), (7, 5)]])
@pytest.mark.parametrize("quantities", [OF_WEIGHTS, CHEAP], ids=["weights", "all"])
def test_operators_are_of_the_largest_size_whichever_comes_first(sizes, quantities):
    model = any_size()
    found = measure(model, Sizes(sizes), quantities=quantities, verbose=0)
    conv = found.layers["conv"]
    assert conv.input_shape == (7, 6, 1)
    matrix = linear_part(model.layers[0], (7, 6, 1))
    assert conv.spectral_norm == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-3)
    assert conv.operator_frobenius_norm == pytest.approx(
        np.linalg.norm(matrix), rel=1e-5
    )
    if quantities is CHEAP:
        kernel = np.asarray(model.layers[0].kernel)
        least = min(
            np.min(norms(model.layers[0](x)) / norms(x) / np.linalg.norm(kernel))
            for x, _ in map(Sizes(sizes).__getitem__, range(2))
        )
        assert conv.layer_cushion == pytest.approx(least, rel=1e-5)
        assert len(found.margins) == 8


def test_between_layers_only_one_size_is_measured():
    with pytest.raises(ValueError, match="inputs of one size.*4, 7, 5, 1.*4, 4, 6, 1"):
        measure(any_size(), Sizes([(7, 5), (4, 6)]), verbose=0)


def test_a_fixed_batch_size_is_asked_for():
    model = keras.Sequential([keras.Input(batch_shape=(4, 6)), layers.Dense(3)])
    x, _ = models.data(models.dense())
    with pytest.raises(ValueError, match=r"pass `batch_size=4`. Received.*\(20, 6\)"):
        measure(model, x, verbose=0)
    found = measure(model, x, batch_size=4, quantities=["layer_cushion"], verbose=0)
    assert found.num_samples == 20
