import csv
import glob

import keras
import models
import numpy as np
import pytest

import tf_genbounds as gb


def fitted(callbacks, model=None, learning_rate=0.01, **options):
    model = model or models.dense()
    x, y = models.data(model)
    model.compile(
        keras.optimizers.SGD(learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    options = {"epochs": 3, "batch_size": 10, "verbose": 0} | options
    return model.fit(x, y, callbacks=callbacks, **options).history


def probe():
    return models.data(models.dense(), samples=15, seed=1)


DEFAULT = {
    "stable_rank/first",
    "stable_rank/second",
    "layer_cushion/first",
    "layer_cushion/second",
    "activation_contraction/first",
    "activation_contraction/second",
    "margin",
}


def test_default_keys_reach_the_history():
    history = fitted([gb.callbacks.GeneralizationMonitor(probe())])
    assert set(history) == DEFAULT | {"loss"}
    assert {len(values) for values in history.values()} == {3}


def test_without_labels_there_is_no_margin():
    history = fitted([gb.callbacks.GeneralizationMonitor(probe()[0])])
    assert set(history) == DEFAULT - {"margin"} | {"loss"}


@pytest.mark.parametrize("make", models.ALL)
def test_monitor_measure_metric_and_function_agree(make):
    model = make()
    x, y = models.data(model)
    names = ["stable_rank", "spectral_norm", "frobenius_norm", "layer_cushion"]
    names += ["activation_contraction", "margin"]
    metrics = [gb.metrics.get(name) for name in names]
    monitor = gb.callbacks.GeneralizationMonitor((x, y), metrics=metrics)
    history = fitted([monitor], model)
    measured = gb.measure(
        model,
        (x, y),
        quantities=sorted(set().union(*(m.quantities for m in metrics))),
        verbose=0,
    )
    for metric in metrics:
        for key, value in metric.select(measured).items():
            tolerance = 5e-3 if "s" in key[:2] else 1e-5
            assert history[key][-1] == pytest.approx(
                value, rel=tolerance, nan_ok=True
            ), key
    for metric in metrics[3:5]:
        values = {
            name: measured.distribution(metric.quantity, name)
            for quantity, name in measured.distributions
            if quantity == metric.quantity
        }
        metric.update_state(values)
        for key, value in metric.result().items():
            assert float(value) == pytest.approx(history[key][-1], rel=1e-5)
    first = model.layers[-1]
    if first.name == "second":
        cushion = gb.functional.layer_cushion(
            np.asarray(first.kernel).T, np.asarray(model.layers[0](x))
        )
        assert history["layer_cushion/second"][-1] == pytest.approx(
            float(np.min(np.asarray(cushion))), rel=1e-5
        )


def test_interlayer_metrics_are_those_of_measure():
    model = models.convolutional()
    data = models.data(model)
    metrics = [
        "interlayer_cushion",
        gb.metrics.InterlayerCushion(clip=True, name="clipped"),
        "interlayer_smoothness",
        "jacobian_spread",
        "effective_parameters",
    ]
    monitor = gb.callbacks.GeneralizationMonitor(
        data, metrics, num_probes=4, num_draws=2, seed=3
    )
    history = fitted([monitor], model, epochs=1)
    measured = gb.measure(model, data, num_probes=4, num_draws=2, seed=3, verbose=0)
    for key, field in {
        "interlayer_cushion": "unclipped_interlayer_cushion",
        "clipped": "minimal_interlayer_cushion",
        "interlayer_smoothness": "interlayer_smoothness",
        "jacobian_spread": "jacobian_spread",
        "effective_parameters": "effective_parameters",
    }.items():
        values = {
            f"{key}/{name}": getattr(layer, field)
            for name, layer in measured.layers.items()
        }
        values = {k: v for k, v in values.items() if v is not None}
        assert values.keys() == {k for k in history if k.startswith(key)}
        for name, value in values.items():
            assert history[name][-1] == pytest.approx(value, rel=1e-3), name


def test_distance_from_the_weights_of_the_first_fit():
    model = models.dense()
    start = np.asarray(model.layers[0].kernel)
    monitor = gb.callbacks.GeneralizationMonitor(probe(), ["distance_from_init"])
    for _ in range(2):
        history = fitted([monitor], model)
        distance = np.linalg.norm(np.asarray(model.layers[0].kernel) - start)
        assert history["distance_from_init/first"][-1] == pytest.approx(distance)
    given = gb.callbacks.GeneralizationMonitor(
        probe(), ["distance_from_init"], initial_weights=model.get_weights()
    )
    history = fitted([given], model, learning_rate=0.0)
    assert history["distance_from_init/first"] == [0.0] * 3
    other = models.randomize(models.dense(), seed=5)
    history = fitted([monitor], other, learning_rate=0.0)
    assert history["distance_from_init/first"] == [0.0] * 3


def test_prefix_and_chosen_metrics():
    monitors = [
        gb.callbacks.GeneralizationMonitor(
            probe(), metrics=["margin"], prefix="probe_"
        ),
        gb.callbacks.GeneralizationMonitor(
            probe(), metrics=[gb.metrics.Margin(50, name="median")]
        ),
        gb.callbacks.GeneralizationMonitor(
            probe(), metrics=[gb.metrics.StableRank("first", matrix="operator")]
        ),
    ]
    assert set(fitted(monitors)) == {
        "loss",
        "probe_margin",
        "median",
        "stable_rank/first",
    }


def test_every_few_steps():
    seen = []

    class Spy(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs.get("layer_cushion/first"))

    monitor = gb.callbacks.GeneralizationMonitor(
        probe(), metrics=["layer_cushion"], frequency=3
    )
    history = fitted([monitor, Spy()], batch_size=4, epochs=2, learning_rate=0.5)
    measured = [i for i, value in enumerate(seen) if value is not None]
    assert measured == [2, 5, 8]
    assert len({seen[i] for i in measured}) == 3  # The weights have moved.
    exact = gb.measure(
        monitor._measurer.model,
        probe(),
        quantities=["layer_cushion"],
        verbose=0,
    )
    assert history["layer_cushion/first"][-1] == pytest.approx(
        exact.layers["first"].layer_cushion
    )


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    history = fitted(
        [
            gb.callbacks.GeneralizationMonitor(probe()),
            keras.callbacks.CSVLogger(path),
        ]
    )
    with open(path) as file:
        rows = list(csv.DictReader(file))
    assert [float(row["layer_cushion/first"]) for row in rows] == pytest.approx(
        history["layer_cushion/first"]
    )


@pytest.mark.tensorflow
def test_tensorboard(tmp_path):
    fitted(
        [
            gb.callbacks.GeneralizationMonitor(probe()),
            keras.callbacks.TensorBoard(tmp_path),
        ]
    )
    (events,) = glob.glob(f"{tmp_path}/train/events*")
    with open(events, "rb") as file:
        assert b"epoch_layer_cushion/first" in file.read()


def test_early_stopping():
    history = fitted(
        [
            gb.callbacks.GeneralizationMonitor(probe()),
            keras.callbacks.EarlyStopping(
                monitor="layer_cushion/first", mode="max", patience=2, min_delta=9
            ),
        ],
        epochs=50,
    )
    assert len(history["loss"]) == 3


def test_model_checkpoint(tmp_path):
    history = fitted(
        [
            gb.callbacks.GeneralizationMonitor(probe()),
            keras.callbacks.ModelCheckpoint(
                tmp_path / "{epoch}.keras",
                monitor="margin",
                mode="max",
                save_best_only=True,
            ),
        ],
        epochs=4,
    )
    margins = history["margin"]
    best = 1 + max(range(4), key=margins.__getitem__)
    saved = sorted(int(p.stem) for p in tmp_path.glob("*.keras"))
    assert saved[-1] == best
    model = keras.models.load_model(tmp_path / f"{best}.keras")
    assert gb.measure(model, probe(), verbose=0).margin() == pytest.approx(
        max(margins), rel=1e-4
    )


def test_training_is_not_touched():
    keras.utils.set_random_seed(1)
    with_monitor = models.convolutional()
    first = fitted([gb.callbacks.GeneralizationMonitor(models.images())], with_monitor)
    keras.utils.set_random_seed(1)
    without = models.convolutional()
    second = fitted([], without)
    assert first["loss"] == second["loss"]
    for a, b in zip(with_monitor.get_weights(), without.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_second_fit_and_a_second_model():
    monitor = gb.callbacks.GeneralizationMonitor(probe(), metrics=["margin"])
    for seed in range(2):
        model = models.randomize(models.dense(), seed)
        for _ in range(2):
            history = fitted([monitor], model)
            exact = gb.measure(model, probe(), quantities=["margins"], verbose=0)
            assert history["margin"][-1] == pytest.approx(exact.margin(), rel=1e-4)


@pytest.mark.tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_under_xla(jit_compile):
    model = models.convolutional()
    x, y = models.data(model)
    model.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
    )
    monitor = gb.callbacks.GeneralizationMonitor((x, y), metrics=["layer_cushion"])
    history = model.fit(x, y, verbose=0, callbacks=[monitor]).history
    exact = (
        gb.measure(model, (x, y), quantities=["layer_cushion"], verbose=0)
        .layers["conv"]
        .layer_cushion
    )
    assert history["layer_cushion/conv"][-1] == pytest.approx(exact, rel=1e-4)


@pytest.mark.tensorflow
def test_under_a_strategy(strategy):
    with strategy.scope():
        model = models.convolutional()
        x, y = models.data(model)
    monitor = gb.callbacks.GeneralizationMonitor((x, y))
    with strategy.scope():
        history = fitted([monitor], model)
    exact = gb.measure(model, (x, y), quantities=["layer_cushion"], verbose=0)
    assert history["layer_cushion/conv"][-1] == pytest.approx(
        exact.layers["conv"].layer_cushion, rel=1e-4
    )


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"metrics": ["layer_cusion"]}, ValueError, "Did you mean 'layer_cushion'"),
        ({"metrics": [keras.metrics.Mean()]}, TypeError, "must be names or"),
        ({"metrics": []}, ValueError, "at least one.*Received: metrics="),
        ({"frequency": "batch"}, ValueError, '"epoch" or a number of steps'),
        ({"frequency": 0}, ValueError, "`frequency` must be a positive"),
    ],
)
def test_refuses_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        gb.callbacks.GeneralizationMonitor(probe(), **options)


@pytest.mark.parametrize(
    "data, message",
    [
        ((probe()[0][:, :5], probe()[1]), "must fit the model's inputs"),
        ((probe()[0] * np.nan, probe()[1]), "NaN or infinity at sample 0"),
    ],
)
def test_refuses_bad_data_before_the_first_step(data, message):
    class Spy(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            raise AssertionError("training has begun")

    with pytest.raises(ValueError, match=message):
        fitted([gb.callbacks.GeneralizationMonitor(data), Spy()])


@pytest.mark.parametrize(
    "steps, executed, frequency, expected",
    [
        (12, 4, 6, [7, 11, 7, 11]),  # Steps 6 and 12 of 12, twice.
        (5, 2, 3, [3, 1, 3]),  # Step 3; 6, the first of its epoch; 9 of 10.
        (4, 1, 3, [2, 1]),
    ],
)
def test_steps_are_counted_however_many_are_executed_at_once(
    steps, executed, frequency, expected
):
    seen = []

    class Spy(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if "margin" in logs:
                seen.append(batch)

    model = models.dense()
    x, y = models.data(model, samples=2 * steps)
    model.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=executed,
    )
    monitor = gb.callbacks.GeneralizationMonitor(
        probe(), metrics=["margin"], frequency=frequency
    )
    model.fit(x, y, batch_size=2, epochs=2, verbose=0, callbacks=[monitor, Spy()])
    assert seen == expected


@pytest.mark.parametrize(
    "labels, message",
    [
        (np.full(15, 3), r"lie in \[0, 3\)"),
        (np.where(np.arange(15) < 14, 1, -1), "y=-1 at sample 14"),
    ],
)
def test_labels_that_do_not_fit_are_refused_before_the_first_step(labels, message):
    class Spy(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            raise AssertionError("training has begun")

    monitor = gb.callbacks.GeneralizationMonitor(
        (probe()[0], labels), metrics=["margin"], batch_size=4
    )
    with pytest.raises(ValueError, match=message):
        fitted([monitor, Spy()])


def test_float_labels_of_one_unit_are_taken_as_keras_takes_them():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    x = probe()[0]
    y = np.arange(15) % 2
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    monitor = gb.callbacks.GeneralizationMonitor(
        (x, y.astype("float32")), metrics=[gb.metrics.Margin(percentile=0)]
    )
    history = model.fit(x, y.astype("float32"), verbose=0, callbacks=[monitor]).history
    expected = np.min((2 * y - 1) * np.asarray(model(x))[:, 0])
    assert history["margin"] == pytest.approx([expected], rel=1e-5)


def test_without_logs_it_measures_all_the_same():
    monitor = gb.callbacks.GeneralizationMonitor(probe(), metrics=["margin"])
    fitted([monitor], epochs=1)
    monitor.measurements = None
    monitor.on_epoch_end(0)
    assert len(monitor.measurements.margins) == 15


def test_a_recorder_that_is_too_early_is_warned_of(tmp_path):
    monitor = gb.callbacks.GeneralizationMonitor(probe(), metrics=["margin"])
    early = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    with pytest.warns(UserWarning, match="CSVLogger will record nothing of"):
        fitted([early, monitor], epochs=1)


def test_a_threshold_decides_as_in_measure():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(1, "sigmoid"),
            keras.layers.Reshape((1,)),
            keras.layers.Lambda(lambda p: p * 0.5),
        ]
    )
    x, y = probe()[0], np.arange(15) % 2
    model.compile(keras.optimizers.SGD(0.0), "mse")
    monitor = gb.callbacks.GeneralizationMonitor(
        (x, y), metrics=[gb.metrics.Margin(percentile=0)], threshold=0.2
    )
    history = model.fit(x, y, verbose=0, callbacks=[monitor]).history
    expected = np.min((2 * y - 1) * (np.asarray(model(x))[:, 0] - 0.2))
    assert history["margin"] == pytest.approx([expected], rel=1e-5)
