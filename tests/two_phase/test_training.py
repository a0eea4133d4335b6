"""Two phases: what each sees, what the history says, how a killed run goes on."""

import pathlib
import subprocess
import sys
import time

import keras
import models
import numpy as np
import pytest
from keras import layers

import tf_genbounds as gb
from tf_genbounds.two_phase import TwoPhaseTraining

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def data(samples=40, seed=0):
    """Every sample has its own number as its first feature."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(samples, 6)).astype("float32")
    x[:, 0] = np.arange(samples) / samples
    return x, (x[:, 1] > 0).astype("int64")


def training(fraction=0.25, model=None, seed=3, optimizer="adam", **options):
    found = TwoPhaseTraining(model or models.dense(), fraction, seed=seed)
    found.compile(optimizer, LOSS, metrics=["accuracy"], **options)
    return found


class Seen(keras.callbacks.Callback):
    """What happened: the events, the epochs and the model of each."""

    def __init__(self):
        super().__init__()
        self.events = []

    def on_train_begin(self, logs=None):
        self.events.append(("begin", self.model))

    def on_train_end(self, logs=None):
        self.events.append(("end", self.model))

    def on_epoch_begin(self, epoch, logs=None):
        self.events.append((epoch, self.model))


def samples_seen(training, x, y, *epochs, monkeypatch, **options):
    """By phase, the numbers of the samples in the batches."""
    from tf_genbounds.two_phase import split

    found = {"standard": [], "freeze": []}
    take = split.Batches.__getitem__

    def recorded(self, index):
        batch = take(self, index)
        numbers = np.rint(batch[0][:, 0] * len(x)).astype(int)
        found[training.phase].append(numbers)
        # The labels belong to these samples.
        np.testing.assert_array_equal(batch[1], y[numbers])
        return batch

    monkeypatch.setattr(split.Batches, "__getitem__", recorded)
    training.fit(*epochs, verbose=0, **options)
    return found


@pytest.mark.parametrize("kind", ["arrays", "tf.data", "PyDataset"])
def test_no_sample_of_one_phase_is_seen_in_the_other(kind, monkeypatch):
    x, y = data()
    run = training()
    epochs = ((x, y), 2, 3)
    if kind == "tf.data":
        tf = pytest.importorskip("tensorflow")
        # It shuffles anew each time: a split by position would mix the phases.
        dataset = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(40).batch(7)
        epochs = (dataset, 2, 3)
    if kind == "PyDataset":
        epochs = (Shuffled(x, y), 2, 3)
    found = samples_seen(run, x, y, *epochs, monkeypatch=monkeypatch)
    seen = {phase: np.concatenate(parts) for phase, parts in found.items()}
    assert not set(seen["standard"]) & set(seen["freeze"])
    assert len(set(seen["standard"])) == 10 and len(set(seen["freeze"])) == 30
    # Each epoch sees each of them once; Keras may look at a batch beforehand.
    for phase, count in (("standard", 2), ("freeze", 3)):
        times = np.bincount(seen[phase], minlength=40)
        assert set(times) <= {0, count, count + 1, count + 2}
    if kind == "arrays":
        for phase, numbers in seen.items():
            indices = getattr(run.phase_data, phase)
            np.testing.assert_array_equal(indices, sorted(set(numbers)))


class Shuffled(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self._x, self._y = x, y
        self._order = np.arange(len(x))

    num_batches = 6

    def __getitem__(self, index):
        part = self._order[index * 7 : index * 7 + 7]
        return self._x[part], self._y[part]

    def on_epoch_end(self):
        np.random.shuffle(self._order)


def test_the_split_is_the_seeds_alone():
    x, y = data()
    parts = []
    for seed, inputs, labels in (
        (3, x, y),
        (3, x[::-1] * 2, 1 - y),
        (4, x, y),
    ):
        run = training(seed=seed)
        run.fit((inputs, labels), 0, 0, verbose=0)
        parts.append(run.phase_data)
    np.testing.assert_array_equal(parts[0].standard, parts[1].standard)
    assert set(parts[0].standard) != set(parts[2].standard)
    assert parts[0].digest != parts[1].digest and parts[0].seed == 3


def test_order_changes_with_the_epoch(monkeypatch):
    x, y = data()
    orders = {}
    for shuffle in (True, False):
        found = samples_seen(
            training(0.0),
            x,
            y,
            (x, y),
            0,
            2,
            monkeypatch=monkeypatch,
            shuffle=shuffle,
            batch_size=40,
        )["freeze"]
        orders[shuffle] = [list(part) for part in found if len(part) == 40]
    assert orders[False][0] == orders[False][-1] == list(range(40))
    assert orders[True][0] != orders[True][-1]
    assert sorted(orders[True][-1]) == list(range(40))


def test_history_and_callbacks_run_through():
    x, y = data()
    run = training()
    seen = Seen()
    standard = run.model
    history = run.fit((x, y), 2, 3, validation_data=(x, y), callbacks=[seen], verbose=0)
    assert history is run.history
    assert history.epoch == [0, 1, 2, 3, 4]
    assert history.history["phase"] == ["standard"] * 2 + ["freeze"] * 3
    for key in ("loss", "accuracy", "val_loss", "val_accuracy"):
        values = history.history[key]
        assert np.isfinite(values).all() and len(values) == 5
    assert [event for event, _ in seen.events] == [
        *("begin", 0, 1, "end"),
        *("begin", 2, 3, 4, "end"),
    ]
    assert {id(m) for _, m in seen.events[:4]} == {id(standard)}
    assert {id(m) for _, m in seen.events[4:]} == {id(run.model)}


def test_what_only_one_phase_logs_is_nan_in_the_other():
    x, y = data()

    class Once(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                logs["once"] = 5.0

    history = training().fit((x, y), 1, 2, callbacks=[Once()], verbose=0)
    np.testing.assert_array_equal(history.history["once"], [np.nan, 5.0, np.nan])


def test_csv_logger_keeps_both_phases(tmp_path):
    path = tmp_path / "log.csv"
    logger = keras.callbacks.CSVLogger(path)
    training().fit(data(), 2, 2, callbacks=[logger], verbose=0)
    lines = path.read_text().split()
    assert lines[0].startswith("epoch,")
    assert [line.split(",")[0] for line in lines[1:]] == ["0", "1", "2", "3"]


def test_early_stopping_ends_a_phase():
    x, y = data()
    stop = keras.callbacks.EarlyStopping("loss", min_delta=1e9, patience=0)
    history = training().fit((x, y), 5, 5, callbacks=[stop], verbose=0)
    # Patience 0: each phase ends after its second epoch.
    assert history.history["phase"] == ["standard"] * 2 + ["freeze"] * 2


def test_live_metrics_keep_the_names_of_the_layers():
    x, y = data()
    monitor = gb.callbacks.GeneralizationMonitor((x, y), metrics=["stable_rank"])
    history = training().fit((x, y), 1, 1, callbacks=[monitor], verbose=0)
    for name in ("first", "second"):
        assert np.isfinite(history.history[f"stable_rank/{name}"]).all()


def test_each_phase_has_its_optimizer():
    x, y = data()
    run = training(optimizer="sgd")
    first = run.model.optimizer
    run.fit((x, y), 2, 1, batch_size=10, verbose=0)
    assert run.model.optimizer is not first
    # Its own steps only: one epoch of 30 samples.
    assert int(run.model.optimizer.iterations) == 3
    optimizers = [keras.optimizers.SGD(0.5), keras.optimizers.Adam(0.25)]
    run = training(optimizer=optimizers)
    assert isinstance(run.model.optimizer, keras.optimizers.SGD)
    run.fit((x, y), 1, 1, verbose=0)
    assert isinstance(run.model.optimizer, keras.optimizers.Adam)
    assert float(run.model.optimizer.learning_rate) == 0.25
    # Those of the user are as they were.
    assert not optimizers[1].built


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_a_phase_without_samples(fraction):
    x, y = data()
    model = models.dense()
    before = model.get_weights()
    run = training(fraction, model)
    history = run.fit((x, y), 2, 2, verbose=0)
    if fraction:
        assert run.model is model and set(history.history["phase"]) == {"standard"}
        with pytest.raises(RuntimeError, match="standard_fraction=1.0"):
            run.bound()
    else:
        # The gates are those of the weights as they came.
        assert set(history.history["phase"]) == {"freeze"}
        gates = run.model.get_layer("first_gate").get_weights()
        for a, b in zip(gates, before, strict=False):
            np.testing.assert_array_equal(a, b)
        for a, b in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_second_fit_goes_on():
    x, y = data()
    run = training()
    run.fit((x, y), 1, 1, verbose=0)
    weights = run.model.get_weights()
    with pytest.raises(ValueError, match="standard_epochs=0`. Received: standard_ep"):
        run.fit((x, y), 1, 1, verbose=0)
    history = run.fit((x, y), 0, 2, verbose=0)
    assert history.epoch == [0, 1, 2, 3]
    assert history.history["phase"] == ["standard"] + ["freeze"] * 3
    assert any(
        np.any(a != b) for a, b in zip(weights, run.model.get_weights(), strict=True)
    )
    with pytest.raises(ValueError, match="must be what the first `fit` had"):
        run.fit((x + 1, y), 0, 1, verbose=0)


def test_two_fits_are_one():
    x, y = data()
    once, twice = training(), training()
    once.fit((x, y), 1, 3, verbose=0)
    twice.fit((x, y), 1, 1, verbose=0)
    twice.fit((x, y), 0, 2, verbose=0)
    for a, b in zip(once.model.get_weights(), twice.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_sample_weights_and_class_weights_are_passed_on():
    x, y = data()
    weights = (y == 1).astype("float32")
    losses = []
    for sample, kind in ((weights, None), (None, {0: 0.0, 1: 1.0}), (None, None)):
        run = training()
        parts = (x, y) if sample is None else (x, y, sample)
        history = run.fit(parts, 1, 1, class_weight=kind, verbose=0)
        losses.append(history.history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert np.all(np.abs(np.subtract(losses[0], losses[2])) > 1e-3)


@pytest.mark.tensorflow
def test_mirrored_strategy(strategy):
    with strategy.scope():
        model = models.dense()
        run = training(model=model)
    history = run.fit(data(), 1, 2, batch_size=8, verbose=0)
    assert run.model.distribute_strategy is strategy
    assert np.isfinite(history.history["loss"]).all()
    assert not run.bound().failed


def test_xla_and_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = models.convolutional()
    finally:
        keras.config.set_dtype_policy("float32")
    run = TwoPhaseTraining(model, 0.5)
    run.compile("adam", LOSS, jit_compile=True)
    history = run.fit(models.images(), 1, 1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    # What is counted in float32 is not what this model decides.
    with pytest.raises(ValueError, match="layer 'conv' with dtype float16"):
        run.bound()


# A run that is killed -------------------------------------------------------------

SCRIPT = """
import sys
import keras, numpy as np
keras.utils.set_random_seed(0)
import tf_genbounds as gb

directory, result, wait = sys.argv[1:]
generator = np.random.default_rng(0)
x, y = generator.normal(size=(60, 6)), generator.integers(0, 3, 60)
model = keras.Sequential([
    keras.Input((6,)),
    keras.layers.Dense(8, activation="relu"),
    keras.layers.Dropout(0.5),
    keras.layers.BatchNormalization(),
    keras.layers.Dense(3),
])
run = gb.two_phase.TwoPhaseTraining(model, 0.5)
run.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))

class Tell(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        print("epoch", epoch, flush=True)
        if epoch == int(wait):
            import time
            time.sleep(600)

history = run.fit((x, y), 3, 3, batch_size=10, callbacks=[Tell()],
                  backup_dir=directory, verbose=0)
np.savez(result, *run.model.get_weights(), loss=history.history["loss"])
print(history.history["phase"])
"""


def start(directory, result, wait=-1):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(directory), str(result), str(wait)],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 3, 5])
def test_a_killed_run_ends_at_the_same_weights(epoch, tmp_path, undisturbed):
    """Killed in the first phase, before the first epoch of the second, and late."""
    backup = tmp_path / "backup"
    with start(backup, tmp_path / "result.npz", epoch) as process:
        for line in process.stdout:
            if line.split() == ["epoch", str(epoch)]:
                break
        time.sleep(0.2)
        process.kill()
    assert not (tmp_path / "result.npz").exists()
    assert [p.name for p in backup.iterdir()] == ["two_phase.npz"]
    with start(backup, tmp_path / "result.npz") as process:
        lines = process.stdout.read().splitlines()
    assert lines[0] == f"epoch {epoch}"
    assert lines[-1] == str(["standard"] * 3 + ["freeze"] * 3)
    assert not backup.exists()
    found = np.load(tmp_path / "result.npz")
    assert found.files == undisturbed.files
    for name in found.files:
        np.testing.assert_allclose(found[name], undisturbed[name], rtol=1e-6, atol=1e-7)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("undisturbed")
    with start(directory / "backup", directory / "result.npz") as process:
        process.wait()
    return np.load(directory / "result.npz")


class Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self._epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self._epoch:
            raise KeyboardInterrupt


def interrupted(directory, **options):
    with pytest.raises(KeyboardInterrupt):
        training(**options).fit(
            data(), 2, 2, callbacks=[Interrupt(3)], backup_dir=directory, verbose=0
        )


def test_a_backup_of_another_run_is_refused(tmp_path):
    interrupted(tmp_path)
    wider = keras.Sequential(
        [keras.Input((6,)), layers.Dense(7, activation="relu"), layers.Dense(3)]
    )
    for options, samples, message in (
        ({}, data(seed=1), "digest="),
        ({"seed": 4}, data(), "seed=4, and in the backup 3"),
        ({"fraction": 0.5}, data(), "standard_fraction=0.5"),
        ({"optimizer": "sgd"}, data(), "of another model or optimizer"),
        ({"model": wider}, data(), "of another model or optimizer"),
    ):
        with pytest.raises(ValueError, match=message):
            training(**options).fit(samples, 2, 2, backup_dir=tmp_path, verbose=0)


def test_a_phase_that_stopped_early_is_not_taken_up_again(tmp_path):
    stop = keras.callbacks.EarlyStopping("loss", min_delta=1e9, patience=0)
    with pytest.raises(KeyboardInterrupt):
        training().fit(
            data(), 9, 2, callbacks=[stop, Interrupt(2)], backup_dir=tmp_path, verbose=0
        )
    history = training().fit(data(), 9, 2, backup_dir=tmp_path, verbose=0)
    assert history.history["phase"] == ["standard"] * 2 + ["freeze"] * 2


def test_a_finished_run_leaves_other_files_alone(tmp_path):
    other = pathlib.Path(tmp_path, "mine.txt")
    other.write_text("")
    training().fit(data(), 1, 1, backup_dir=tmp_path, verbose=0)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


# The bound ---------------------------------------------------------------------------


def test_bound_is_the_formula():
    x, y = data()
    run = training()
    run.fit((x, y), 1, 2, verbose=0)
    found = run.bound(delta=0.1)
    part = run.phase_data.freeze
    margins = gb.measure(run.model, (x[part], y[part]), quantities=["margins"]).margins
    options = {
        "weight_norm": gb.functional.path_weight_norms(run.model).max() * (1 + 1e-4),
        "feature_norms": gb.functional.path_feature_norms(run.model, x[part])
        * (1 + 1e-4),
        "num_classes": 3,
        "delta": 0.1,
    }
    assert found.num_samples == 30 and found.delta == 0.1
    wrong = np.mean(margins <= 0)
    candidates = [
        gb.bounds.data_independent_bound(margins, margin=2.0**i, **options)
        for i in range(-20, 20)
    ]
    values = [c.value for c in candidates if c.empirical <= max(0.5, wrong)]
    assert found.value == min(values)
    assert found.vacuous
    status = {a.text: a.status for a in found.assumptions}
    assert status["no sample of the standard phase is counted"] == "checked"
    assert status["the gates are those of the end of the standard phase"] == "checked"


def test_a_gate_that_moved_is_found():
    run = training()
    run.fit(data(), 1, 1, verbose=0)
    gate = run.model.get_layer("first_gate")
    kernel, bias = gate.get_weights()
    gate.set_weights([kernel + 1e-3, bias])
    failed = run.bound().failed
    assert [a.text for a in failed] == [
        "the gates are those of the end of the standard phase"
    ]
    gate.set_weights([kernel, bias])
    assert not run.bound().failed


def test_there_is_no_bound_before_the_switch():
    with pytest.raises(RuntimeError, match="frozen activation pattern"):
        training().bound()


def moving_gates(epoch):
    """Moves a gate before an epoch of the second phase."""

    class Move(keras.callbacks.Callback):
        def on_epoch_begin(self, current, logs=None):
            if current == epoch:
                gate = self.model.get_layer("first_gate")
                gate.set_weights([w + 1.0 for w in gate.get_weights()])

    return Move()


@pytest.mark.parametrize("moved", [False, True])
def test_after_a_backup_the_gates_are_compared_with_those_of_the_switch(
    moved, tmp_path
):
    callbacks = [moving_gates(2)] * moved + [Interrupt(3)]
    first = training()
    with pytest.raises(KeyboardInterrupt):
        first.fit(data(), 1, 9, callbacks=callbacks, backup_dir=tmp_path, verbose=0)
    # Started again with other weights, whose gates at the switch were others.
    again = training(model=models.randomize(models.dense(), seed=5))
    again.fit(data(), 1, 3, backup_dir=tmp_path, verbose=0)
    for a, b in zip(
        *(run.model.get_layer("first_gate").get_weights() for run in (first, again)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    found = again.bound()
    assert [a.text for a in found.failed] == [
        "the gates are those of the end of the standard phase"
    ] * moved
    # What the first start had is told by the second, which had no callbacks.
    names = "(Move, Interrupt)" if moved else "(Interrupt)"
    assert f"the callbacks of the standard phase {names}" in found.statement()


def test_bad_arguments():
    model = models.dense()
    with pytest.raises(ValueError, match=r"in \[0, 1\]. Received: standard_fraction=2"):
        TwoPhaseTraining(model, 2)
    with pytest.raises(ValueError, match="seed=-1"):
        TwoPhaseTraining(model, seed=-1)
    with pytest.raises(ValueError, match="has the activation tanh"):
        TwoPhaseTraining(
            keras.Sequential([keras.Input((2,)), layers.Dense(2, activation="tanh")])
        )
    run = TwoPhaseTraining(model)
    with pytest.raises(RuntimeError, match="Call `compile` before `fit`"):
        run.fit(data())
    with pytest.raises(ValueError, match="pair for the two phases. Received: 3"):
        run.compile(["sgd"] * 3)
    run.compile("sgd", LOSS)
    with pytest.raises(TypeError, match="Received: numpy.ndarray"):
        run.fit(data()[0])
    with pytest.raises(ValueError, match="same number of samples"):
        run.fit((data()[0], np.zeros(3)))
