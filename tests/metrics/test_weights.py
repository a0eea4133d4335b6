import contextlib

import keras
import models
import numpy as np
import pytest

import tf_genbounds as gb
from tf_genbounds import backend

METRICS = [gb.metrics.StableRank, gb.metrics.SpectralNorm, gb.metrics.FrobeniusNorm]


def floats(result):
    return {key: float(value) for key, value in result.items()}


def trained(model, metrics, learning_rate=0.0, **options):
    model.compile(
        keras.optimizers.SGD(learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=metrics,
        **options,
    )
    return model


def followed(metric, model, steps=60):
    """Updates a metric so many times, in one compiled step."""
    metric.bind(model)
    update = backend.jit(metric.stateless_update_state)
    values = backend.values(metric.variables)
    for _ in range(steps):
        values = update(values)
    for variable, value in zip(metric.variables, values, strict=True):
        variable.assign(value)
    return metric


@pytest.mark.parametrize("matrix", ["kernel", "operator"])
@pytest.mark.parametrize("make", [models.convolutional, models.shared])
def test_follows_the_weights_to_what_measure_says(matrix, make):
    model = make()
    metrics = [followed(metric(matrix=matrix), model) for metric in METRICS]
    measured = gb.measure(
        model,
        models.data(model),
        quantities=[metric.quantity for metric in metrics],
        verbose=0,
    )
    for metric in metrics:
        expected = metric.select(measured)
        result = floats(metric.result())
        assert list(result) == list(expected)
        assert result == pytest.approx(expected, rel=5e-3)


@pytest.mark.tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_in_compile_the_keys_reach_the_history(jit_compile):
    model = models.convolutional()
    x, y = models.data(model)
    trained(model, ["accuracy", gb.metrics.StableRank()], 0.01, jit_compile=jit_compile)
    history = model.fit(
        x, y, epochs=30, batch_size=10, validation_data=(x, y), verbose=0
    ).history
    names = ["conv", "conv2", "logits"]
    assert set(history) >= {f"stable_rank/{n}" for n in names}
    exact = gb.measure(model, (x, y), quantities=["stable_rank"], verbose=0)
    for name in names:
        # Validation sees the weights at the end of the epoch.
        assert history[f"val_stable_rank/{name}"][-1] == pytest.approx(
            exact.layers[name].stable_rank, rel=1e-2
        )


@pytest.mark.tensorflow
def test_every_step_but_some():
    model = models.dense()
    metric = gb.metrics.FrobeniusNorm(every=3)
    metric.bind(model)
    seen = []
    for step in range(7):
        metric.update_state()
        seen.append(float(metric.result()["frobenius_norm/first"]))
        kernel, *others = model.get_weights()
        model.set_weights([2 * kernel, *others])
    first = seen[0]
    assert np.divide(seen, first).tolist() == [1, 1, 1, 8, 8, 8, 64]


def test_reset_keeps_the_warm_start():
    model = models.convolutional()
    exact = (
        gb.measure(model, models.data(model), quantities=["spectral_norm"], verbose=0)
        .layers["conv2"]
        .spectral_norm
    )

    def error(resets):
        metric = gb.metrics.SpectralNorm("conv2")
        metric.bind(model)
        for _ in range(25):
            if resets:
                metric.reset_state()
            metric.update_state()
        return abs(float(metric.result()["spectral_norm/conv2"]) - exact)

    assert error(resets=True) == error(resets=False) < 0.01 * exact


def test_one_update_from_a_cold_start_is_worse():
    # So that the test above could fail.
    model = models.convolutional()
    exact = (
        gb.measure(model, models.data(model), quantities=["spectral_norm"], verbose=0)
        .layers["conv2"]
        .spectral_norm
    )
    metric = gb.metrics.SpectralNorm("conv2")
    metric.bind(model)
    metric.update_state()
    assert float(metric.result()["spectral_norm/conv2"]) < 0.99 * exact


@pytest.mark.parametrize("layer", ["dense", "inner/dense"])
def test_a_layer_is_chosen_by_name_or_path(layer):
    metric = gb.metrics.FrobeniusNorm(layer)
    metric.bind(models.nested())
    metric.update_state()
    expected = {
        "dense": ["inner/dense", "dense"],  # The name of both.
        "inner/dense": ["inner/dense"],
    }[layer]
    assert list(metric.result()) == [f"frobenius_norm/{n}" for n in expected]


def test_a_layer_is_chosen_by_itself():
    model = models.dense()
    metric = gb.metrics.FrobeniusNorm(model.layers[1])
    metric.bind(model)
    metric.update_state()
    assert floats(metric.result()) == pytest.approx(
        {"frobenius_norm/second": np.linalg.norm(model.layers[1].get_weights()[0])}
    )


def test_before_the_first_update_the_value_is_not_a_number():
    assert np.isnan(float(gb.metrics.StableRank().result()["stable_rank"]))


@pytest.mark.tensorflow
def test_a_reloaded_model_goes_on_measuring(tmp_path):
    model = models.convolutional()
    x, y = models.data(model)
    trained(model, [gb.metrics.FrobeniusNorm("logits"), gb.metrics.StableRank()])
    expected = model.evaluate(x, y, return_dict=True, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    result = again.evaluate(x, y, return_dict=True, verbose=0)
    assert result == pytest.approx(expected, rel=1e-5)
    assert "frobenius_norm/logits" in result


@pytest.mark.tensorflow
def test_replicas_agree_with_one_device(strategy):
    def histories(scope):
        with scope:
            # Without batch norm, whose averages are each replica's own.
            model = models.residual()
            x, y = models.data(model)
            trained(model, [gb.metrics.FrobeniusNorm(), gb.metrics.StableRank()])
        return model.fit(x, y, epochs=20, batch_size=10, verbose=0).history

    one, two = histories(contextlib.nullcontext()), histories(strategy.scope())
    for key in one:
        if "/" in key:
            assert two[key][-1] == pytest.approx(one[key][-1], rel=1e-4), key


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="TensorFlow can do it")
def test_jax_refuses_it_in_compile_and_says_what_to_do():
    model = models.dense()
    x, y = models.data(model)
    trained(model, [gb.metrics.StableRank()])
    with pytest.raises(ValueError, match="GeneralizationMonitor"):
        model.fit(x, y, verbose=0)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"matrix": "kernels"}, '`matrix` must be "kernel" or "operator"'),
        ({"every": 0}, "`every` must be a positive integer. Received: every=0"),
    ],
)
def test_refuses_bad_values(options, message):
    with pytest.raises(ValueError, match=message):
        gb.metrics.StableRank(**options)


def test_refuses_bad_layers_and_a_missing_model():
    with pytest.raises(TypeError, match="`layer` must be a layer"):
        gb.metrics.StableRank(layer=3)
    with pytest.raises(ValueError, match="Did you mean 'first'"):
        gb.metrics.StableRank("frist").bind(models.dense())
    with pytest.raises(ValueError, match=r"call `metric.bind\(model\)`"):
        gb.metrics.StableRank().update_state()


def any_size():
    """Kernels of known norms, images of any size."""
    model = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            keras.layers.Conv2D(2, 3, use_bias=False, name="conv"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, use_bias=False, name="dense"),
        ]
    )
    conv = np.random.default_rng(0).normal(size=(3, 3, 1, 2))
    model.set_weights([conv, np.array([[3.0, 0.0], [0.0, 1.0]])])
    return model, conv.reshape(9, 2)


class Dictionary(keras.Model):
    """Subclassed, with a dict of inputs."""

    def __init__(self):
        super().__init__()
        self.a = keras.layers.Dense(2, use_bias=False, name="a")
        self.b = keras.layers.Dense(2, use_bias=False, name="b")

    def call(self, x):
        return self.a(x["z"]) + self.b(x["y"])


class Listed(Dictionary):
    def call(self, x):
        return self.a(x[0]) + self.b(x[1])


def two_inputs(kind):
    x = {"z": np.ones((8, 3), "float32"), "y": np.ones((8, 2), "float32")}
    model = Listed() if kind is list else Dictionary()
    x = list(x.values()) if kind is list else x
    model(x)
    return model, x


def stateful():
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(4, 5, 3)),
            keras.layers.LSTM(2, stateful=True),
            keras.layers.Dense(2, use_bias=False, name="b"),
        ]
    )
    return model, np.ones((8, 5, 3), "float32")


def tokens():
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(9, 2),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(2, use_bias=False, name="b"),
        ]
    )
    return model, np.ones((8, 6), "int32")


INPUTS = [lambda: two_inputs(dict), lambda: two_inputs(list), stateful, tokens]


@pytest.mark.parametrize("make", INPUTS, ids=["dict", "list", "stateful", "tokens"])
def test_models_of_any_inputs_are_followed(make):
    model, x = make()
    kernel = np.array([[2.0, 0.0], [0.0, 1.0]])  # Stable rank 5 / 4.
    model.get_layer("b").set_weights([kernel])
    measured = gb.measure(model, x, quantities=["stable_rank"], batch_size=4, verbose=0)
    assert measured.layers["b"].stable_rank == pytest.approx(1.25, rel=1e-4)
    names = ["stable_rank", "layer_cushion"]
    monitored = gb.MonitoredModel.from_model(model, names)
    monitored.compile(keras.optimizers.SGD(0.0), "mse")
    y = np.zeros((8, 2))
    history = monitored.fit(x, y, batch_size=4, epochs=9, verbose=0).history
    assert history["stable_rank/b"][-1] == pytest.approx(1.25, rel=1e-3)
    assert 1 / 5**0.5 <= history["layer_cushion/b"][-1] <= 2 / 5**0.5
    if backend.name == "tensorflow":
        model.compile(
            keras.optimizers.SGD(0.0), "mse", metrics=[gb.metrics.StableRank("b")]
        )
        history = model.fit(x, y, batch_size=4, epochs=9, verbose=0).history
        assert history["stable_rank/b"][-1] == pytest.approx(1.25, rel=1e-3)


def test_kernels_need_no_size_and_operators_do():
    model, conv = any_size()
    metric = gb.metrics.StableRank()
    metric.bind(model)
    for _ in range(60):
        metric.update_state()
    result = floats(metric.result())
    rank = (np.linalg.norm(conv) / np.linalg.norm(conv, 2)) ** 2
    assert result["stable_rank/conv"] == pytest.approx(rank, rel=1e-3)
    assert result["stable_rank/dense"] == pytest.approx(10 / 9, rel=1e-3)
    with pytest.raises(ValueError, match="'conv' is of one size.*leaves open"):
        gb.metrics.SpectralNorm().bind(model)
    # A dense layer is the same matrix whatever the images.
    metric = gb.metrics.SpectralNorm("dense")
    metric.bind(model)
    metric.update_state()
    assert floats(metric.result())["spectral_norm/dense"] <= 3 + 1e-5
