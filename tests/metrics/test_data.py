import keras
import models
import numpy as np
import pytest

import tf_genbounds as gb
from tf_genbounds import backend


@pytest.mark.parametrize(
    "metric, extreme, start",
    [
        (gb.metrics.LayerCushion, min, np.inf),
        (gb.metrics.ActivationContraction, max, 0),
    ],
)
def test_merges_batches_by_the_extreme_never_the_mean(metric, extreme, start):
    metric = metric()
    batches = np.random.default_rng(0).random((4, 6)).astype("float32")
    for batch in batches:
        metric.update_state({"a": batch, "b": 2 * batch})
    (a, b) = map(float, metric.result().values())
    assert a == extreme(batches.ravel().tolist())
    assert b == 2 * a
    metric.reset_state()
    assert [float(v) for v in metric.result().values()] == [start, start]


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize(
    "metric", [gb.metrics.LayerCushion, gb.metrics.ActivationContraction]
)
def test_nan_is_the_extreme(metric, xla):
    metric = metric()
    metric.update_state({"a": np.array([0.5, 0.7], "float32")})

    def step(state, values):
        with keras.StatelessScope(
            state_mapping=[(metric.variables[0], state)]
        ) as scope:
            metric.update_state({"a": values})
        return scope.get_current_value(metric.variables[0])

    step = backend.jit(step, xla)
    state = keras.ops.convert_to_tensor(0.5)
    for batch in ([0.3, np.nan], [0.2, 0.4]):  # It stays when others follow.
        state = step(state, np.array(batch, "float32"))
        assert np.isnan(state)


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "metric, expected",
    [(gb.metrics.LayerCushion, 0.25), (gb.metrics.ActivationContraction, 4.0)],
)
def test_replicas_agree_on_the_extreme(strategy, metric, expected):
    import tensorflow as tf

    with strategy.scope():
        metric = metric()

        def step():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            value = tf.gather([[4.0, 3.0], [2.0, 0.25]], replica)
            metric.update_state({"a": value})

        strategy.run(step)  # Creates the state.
        tf.function(lambda: strategy.run(step))()
        (value,) = metric.result().values()
    assert float(value) == expected


def test_in_compile_a_cushion_says_where_it_belongs():
    model = models.dense()
    x, y = models.data(model)
    model.compile("sgd", "mse", metrics=[gb.metrics.LayerCushion()])
    with pytest.raises(TypeError, match="GeneralizationMonitor"):
        model.fit(x, np.eye(3)[y], verbose=0)


def logits_and_labels(samples=500):
    generator = np.random.default_rng(0)
    logits = 10 * generator.standard_t(2, size=(samples, 4)).astype("float32")
    return logits, generator.integers(0, 4, samples)


@pytest.mark.parametrize("percentile", [0, 10, 50, 90, 100])
def test_margin_is_within_a_bin_of_the_exact_percentile(percentile):
    logits, labels = logits_and_labels()
    metric = gb.metrics.Margin(percentile)
    for part in (slice(0, 100), slice(100, None)):
        metric.update_state(labels[part], logits[part])
    margins = np.asarray(gb.functional.margins(logits, labels))
    exact = np.percentile(margins, percentile, method="lower")
    result = float(metric.result())
    assert exact - 0.0101 * abs(exact) - 1e-5 <= result <= exact


def test_margin_takes_labels_in_every_form():
    logits, labels = logits_and_labels()
    expected = None
    for form in (labels, labels[:, None], np.eye(4)[labels]):
        metric = gb.metrics.Margin()
        metric.update_state(form, logits)
        expected = expected or float(metric.result())
        assert float(metric.result()) == expected


def test_a_margin_of_nan_is_the_lowest():
    metric = gb.metrics.Margin(percentile=0)
    metric.update_state([0, 0], np.array([[np.nan, 0.0], [1.0, 0.0]]))
    assert float(metric.result()) == -np.inf
    metric = gb.metrics.Margin(percentile=100)
    metric.update_state([0, 0], np.array([[np.nan, 0.0], [1.0, 0.0]]))
    assert 0.99 <= float(metric.result()) <= 1


def test_a_margin_without_samples_is_not_a_number():
    assert np.isnan(float(gb.metrics.Margin().result()))


def test_margins_beyond_the_bins_count_in_the_outermost():
    metric = gb.metrics.Margin(percentile=0)
    metric.update_state([0], np.array([[-1e30, 0.0]]))
    assert float(metric.result()) == -np.inf
    metric = gb.metrics.Margin(percentile=0)
    metric.update_state([0], np.array([[1e30, 0.0]]))
    assert float(metric.result()) > 1e6


@pytest.mark.parametrize("percentile", [-1, 101, float("nan")])
def test_refuses_a_bad_percentile(percentile):
    with pytest.raises(ValueError, match=r"\[0, 100\]. Received: percentile"):
        gb.metrics.Margin(percentile)


@pytest.mark.tensorflow
def test_margin_refuses_probabilities():
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(3, activation="softmax")]
    )
    x, y = models.data(models.dense())
    model.compile("sgd", "mse", metrics=[gb.metrics.Margin()])
    with pytest.raises(ValueError, match="Received: activation=softmax"):
        model.fit(x, np.eye(3)[y], verbose=0)


BAD_LABELS = {
    "hinge": ([-1, 1, 1, -1], 1),
    "from one": ([1, 2, 3, 3], 3),
    "a fraction": ([0.5, 1.0, 0.0, 1.0], 3),
    "smoothed": (np.full((4, 3), 1 / 3), 3),
}


@pytest.mark.parametrize("labels, classes", BAD_LABELS.values(), ids=BAD_LABELS)
def test_margin_refuses_labels_that_are_no_classes(labels, classes):
    logits = np.random.default_rng(0).normal(size=(4, classes)).astype("float32")
    with pytest.raises(ValueError, match="abels"):
        gb.metrics.Margin().update_state(np.array(labels), logits)


def test_labels_of_a_hinge_loss_are_told_what_to_become():
    with pytest.raises(
        ValueError, match=r"turn -1 and 1 into 0 and 1.*\(y \+ 1\) // 2"
    ):
        gb.metrics.Margin().update_state([-1, 1], np.ones((2, 1)))
    with pytest.raises(ValueError, match="pass `y - 1` if yours count from 1"):
        gb.metrics.Margin().update_state([1, 3], np.ones((2, 3)))


@pytest.mark.filterwarnings("ignore:On JAX")
@pytest.mark.parametrize("labels, classes", BAD_LABELS.values(), ids=BAD_LABELS)
def test_a_compiled_margin_of_such_labels_is_nan_and_no_number(labels, classes):
    metric = gb.metrics.Margin()
    logits = np.random.default_rng(0).normal(size=(4, classes)).astype("float32")
    state = [v.value for v in metric.variables]

    def run(labels, logits):
        return metric.stateless_result(
            metric.stateless_update_state(state, labels, logits)
        )

    assert np.isnan(float(backend.jit(run)(np.array(labels, "float32"), logits)))


@pytest.mark.parametrize("kind", ["hinge", "right"])
def test_the_end_of_an_epoch_says_which_labels_were_no_classes(kind):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    x, _ = models.data(models.dense())
    model.compile("sgd", "hinge", metrics=[gb.metrics.Margin(percentile=0)])
    labels = np.where(np.arange(20) % 2, 1, -1)
    if kind == "hinge":
        with pytest.raises(ValueError, match=r"\[0, 2\), or one-hot. Received: 10"):
            model.fit(x, labels, verbose=0)
    else:
        model.optimizer.learning_rate = 0.0
        logged = model.fit(x, (labels + 1) // 2, verbose=0).history["margin"][0]
        exact = np.min(labels * np.asarray(model(x))[:, 0])
        assert exact - 0.0101 * abs(exact) - 1e-5 <= logged <= exact


def test_float_labels_that_are_whole_are_classes():
    logits = np.array([[2.0, 0.0, -1.0], [1.0, 3.0, 0.0]])
    metric = gb.metrics.Margin(percentile=0)
    metric.update_state(np.array([0.0, 1.0]), logits)
    assert 1.98 < float(metric.result()) <= 2
