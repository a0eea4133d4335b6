import json
import os
import socket
import subprocess
import sys
import textwrap

import keras
import models
import numpy as np
import pytest
from keras import layers

import tf_genbounds as gb

METRICS = [
    "stable_rank",
    "spectral_norm",
    "frobenius_norm",
    "layer_cushion",
    "activation_contraction",
    "margin",
]
EXTREMES = ("layer_cushion", "activation_contraction")


def monitored(model, metrics=METRICS, learning_rate=0.0, **options):
    model = gb.MonitoredModel.from_model(model, metrics)
    model.compile(
        keras.optimizers.SGD(learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **options,
    )
    return model


def standing(make):
    """A model that nothing moves, neither updates nor statistics."""
    model = make()
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False
    return model


def fit(model, x, y, **options):
    options = {"batch_size": 8, "verbose": 0} | options
    return model.fit(x, y, **options).history


# On JAX a step that is not compiled runs one operation after another.
JAX = keras.backend.backend() == "jax"


@pytest.mark.parametrize(
    "make, jit_compile",
    [(make, JAX) for make in models.ALL]
    + [(make, True) for make in (models.convolutional, models.subclassed) if not JAX],
)
def test_equals_measure_while_the_weights_stand(make, jit_compile):
    model = standing(make)
    x, y = models.data(model)
    expected = gb.measure(
        model, (x, y), quantities=["frobenius_norm", *EXTREMES, "margins"], verbose=0
    )
    history = fit(monitored(model, jit_compile=jit_compile), x, y)
    for name, layer in expected.layers.items():
        for field in ("frobenius_norm", *EXTREMES):
            key = f"{field}/{name}"
            value = getattr(layer, field)
            # The first layer has no activation before it.
            if key in history or field != "activation_contraction":
                if history[key][-1] == 0 and field == "activation_contraction":
                    continue
                assert history[key][-1] == pytest.approx(value, rel=1e-4), key
    # The margin metric counts in bins of 1 %.
    margin = expected.margin()
    assert margin - 0.02 * abs(margin) < history["margin"][-1] <= margin + 1e-5


def test_trains_as_the_model_inside():
    weights = []
    for wrap in (False, True):
        keras.utils.set_random_seed(3)
        model = models.convolutional()
        x, y = models.data(model)
        if wrap:
            fit(monitored(model, learning_rate=0.1), x, y, epochs=2)
        else:
            model.compile(
                keras.optimizers.SGD(0.1),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            )
            fit(model, x, y, epochs=2)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_follows_the_weights_and_fits_again():
    model = models.dense()
    x, y = models.data(model)
    wrapped = monitored(model, learning_rate=0.5)
    first = fit(wrapped, x, y, epochs=3)
    second = fit(wrapped, x, y)
    norms = first["frobenius_norm/second"] + second["frobenius_norm/second"]
    assert len(set(norms)) == 4
    # The value is that of the weights before the last update.
    assert norms[-1] == pytest.approx(
        np.linalg.norm(np.asarray(model.layers[1].kernel)), rel=0.2
    )


def test_validation_measures_the_validation_data():
    model = models.dense()
    x, y = models.data(model)
    other = models.data(model, samples=9, seed=4)
    history = fit(monitored(model), x, y, validation_data=other)
    for key, data in (("layer_cushion", (x, y)), ("val_layer_cushion", other)):
        cushion = (
            gb.measure(model, data, quantities=["layer_cushion"], verbose=0)
            .layers["first"]
            .layer_cushion
        )
        assert history[f"{key}/first"][-1] == pytest.approx(cushion, rel=1e-4)


def test_save_and_load(tmp_path):
    model = models.subclassed()
    x, y = models.data(model)
    wrapped = monitored(model)
    expected = fit(wrapped, x, y)
    wrapped.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(x), model(x), rtol=1e-5)
    assert fit(again, x, y).keys() == expected.keys()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(5, activation="relu"),
                layers.Dense(3, dtype="float32"),
            ]
        )
        x, y = models.data(models.dense())
        history = fit(monitored(model), x, y)
    finally:
        keras.config.set_dtype_policy("float32")
    cushion = gb.measure(model, x, quantities=["layer_cushion"], verbose=0)
    for name, layer in cushion.layers.items():
        assert history[f"layer_cushion/{name}"][-1] == pytest.approx(
            layer.layer_cushion, rel=1e-5
        )


@pytest.mark.tensorflow
def test_replicas_merge_their_extremes(strategy):
    model = standing(models.convolutional)
    x, y = models.data(model)
    expected = fit(monitored(model), x, y)
    with strategy.scope():
        copy = standing(models.convolutional)
        copy.set_weights(model.get_weights())
        wrapped = monitored(copy)
    history = fit(wrapped, x, y)
    assert history.keys() == expected.keys()
    for key, (value,) in history.items():
        if key.startswith(EXTREMES):
            assert value == expected[key][0], key  # Exactly.
        elif key != "loss":  # That of the training pass, with its dropout.
            assert value == pytest.approx(expected[key][0], rel=1e-5), key


@pytest.mark.parametrize(
    "metrics, error, message",
    [
        (["interlayer_cushion"], TypeError, "GeneralizationMonitor"),
        ([gb.metrics.InterlayerSmoothness()], TypeError, "GeneralizationMonitor"),
        (["cushion"], ValueError, "`metric` must be one of"),
        ([gb.metrics.LayerCushion("frist")], ValueError, "Did you mean 'first'"),
    ],
)
def test_refuses_what_it_cannot_measure(metrics, error, message):
    with pytest.raises(error, match=message):
        gb.MonitoredModel.from_model(models.dense(), metrics)


def test_refuses_a_model_that_is_not_built():
    with pytest.raises(ValueError, match="must be built"):
        gb.MonitoredModel.from_model(models.Subclassed(), ["margin"])


PARALLEL = """
    import json, os
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    import keras, models
    import jax
    import tf_genbounds as gb
    from test_monitored_model import fit, monitored, standing

    results = []
    for devices in (1, 2):
        distribution = keras.distribution.DataParallel(
            devices=keras.distribution.list_devices()[:devices],
            auto_shard_dataset=False,
        )
        keras.utils.set_random_seed(0)
        with distribution.scope():
            model = standing(models.convolutional)
            x, y = models.data(model, samples=16)
            wrapped = monitored(model)
            history = fit(wrapped, x, y)
            measured = gb.measure(
                model, (x, y), quantities=["layer_cushion"], verbose=0
            )
        history = {k: float(v[-1]) for k, v in history.items()}
        for name, layer in measured.layers.items():
            history[f"measured/{name}"] = layer.layer_cushion
        results.append(history)
    print(json.dumps([len(jax.devices()), *results]))
"""


@pytest.mark.tensorflow  # Starts JAX itself.
def test_data_parallel_on_jax_equals_one_device():
    pytest.importorskip("jax")
    tests = os.path.dirname(os.path.abspath(models.__file__))
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PARALLEL)],
        capture_output=True,
        text=True,
        cwd=tests,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                [tests, os.path.join(tests, "metrics"), *sys.path]
            ),
        },
    )
    assert out.returncode == 0, out.stderr[-3000:]
    devices, one, two = json.loads(out.stdout.splitlines()[-1])
    assert devices == 2
    assert one.keys() == two.keys() and any("cushion" in key for key in one)
    for key, value in one.items():
        assert two[key] == pytest.approx(value, rel=1e-5), key


WORKER = """
    import json, os, sys
    index, *ports = map(int, sys.argv[1:])
    os.environ["TF_CONFIG"] = json.dumps({
        "cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
        "task": {"type": "worker", "index": index},
    })
    import tensorflow as tf
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    import keras, models
    from test_monitored_model import monitored, standing

    with strategy.scope():
        model = standing(models.convolutional)
        wrapped = monitored(model)
    x, y = models.data(model, samples=16)

    @tf.function
    def step(x, y):
        def replica(x, y):
            wrapped.compute_loss(x, y, wrapped(x, training=True))
        strategy.run(replica, (x, y))

    for start in (0, 8):
        rows = slice(start + 4 * index, start + 4 * index + 4)
        step(tf.constant(x[rows]), tf.constant(y[rows]))
    result = {}
    for metric in wrapped.monitored:
        values = metric.result()
        result |= values if isinstance(values, dict) else {metric.name: values}
    print(json.dumps({k: float(v) for k, v in result.items()}))
"""


@pytest.mark.slow
@pytest.mark.tensorflow
def test_two_workers_merge_their_extremes():
    # `Model.fit` is broken under this strategy in Keras; a custom loop is not.
    model = standing(models.convolutional)
    x, y = models.data(model, samples=16)
    expected = fit(monitored(model), x, y)
    tests = os.path.dirname(os.path.abspath(models.__file__))
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(str(free.getsockname()[1]))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WORKER), str(index), *ports],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tests,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(
                    [tests, os.path.join(tests, "metrics"), *sys.path]
                ),
            },
        )
        for index in range(2)
    ]
    outputs = [worker.communicate(timeout=300) for worker in workers]
    for (out, error), worker in zip(outputs, workers, strict=True):
        assert worker.returncode == 0, error[-3000:]
        result = json.loads(out.splitlines()[-1])
        for key, value in result.items():
            if key.startswith(EXTREMES):
                assert value == expected[key][0], key
            elif not key.startswith(("margin", "stable_rank", "spectral_norm")):
                assert value == pytest.approx(expected[key][0], rel=1e-5), key
