"""Pick-to-Learn: what a run depends on, how it ends, goes on and is verified."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import tf_genbounds as gb
from tf_genbounds.pick_to_learn import PickToLearn

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SHORT = dict(steps_per_round=4, batch_size=8, verbose=0)


def data(samples=60, seed=0):
    """Two features decide, and one label in ten is wrong."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(samples, 3)).astype("float32")
    y = (x[:, 0] + x[:, 1] > 0).astype("int64")
    flipped = generator.random(samples) < 0.1
    return x, np.where(flipped, 1 - y, y)


def network(dropout=0.3):
    return keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(6, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(dropout),
            layers.Dense(2),
        ]
    )


def training(model=None, picks=4, seed=0, optimizer=None, **options):
    found = PickToLearn(model or network(), picks=picks, seed=seed)
    if keras.backend.backend() == "tensorflow":
        options.setdefault("jit_compile", False)  # It compiles faster.
    found.compile(optimizer or keras.optimizers.Adam(0.05), LOSS, **options)
    return found


def noise(x, y, generator):
    return x + generator.normal(size=x.shape).astype("float32") / 10, y


def result(run, x):
    """Contents of the picked and the wrong, and the weights."""
    wrong = sorted(map(tuple, x[run.wrong].tolist()))
    return x[run.picked].tolist(), wrong, run.model.get_weights()


def assert_same(first, second):
    assert first[:2] == second[:2]
    for a, b in zip(first[2], second[2], strict=True):
        np.testing.assert_array_equal(a, b)


def test_history_counts_and_bounds_each_round():
    x, y = data()
    run = training(metrics=["accuracy"])
    history = run.fit(
        (x, y), rounds=5, validation_data=data(20, 1), augment=noise, **SHORT
    )
    assert history.history["picked"] == [4, 8, 12, 16, 20]
    assert history.epoch == list(range(5))
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(history.history)
    assert len(set(run.picked)) == 20 and not set(run.picked) & set(run.wrong)
    outputs = run.model.predict(x, verbose=0)
    wrong = set(np.flatnonzero(np.argmax(outputs, axis=1) != y)) - set(run.picked)
    assert set(run.wrong) == wrong
    assert history.history["errors_outside"][-1] == len(wrong)
    for picked, errors, bound in zip(
        *(history.history[key] for key in ("picked", "errors_outside", "bound")),
        strict=True,
    ):
        expected = gb.bounds.sample_compression_bound(picked + errors, num_samples=60)
        assert bound == expected.value
    assert run.certificate().value == history.history["bound"][-1]


def test_the_order_of_the_data_does_not_matter():
    x, y = data()
    run = training()
    run.fit((x, y), rounds=4, augment=noise, **SHORT)
    first = result(run, x)
    order = np.random.default_rng(5).permutation(len(x))
    run.fit((x[order], y[order]), rounds=4, augment=noise, **SHORT)
    assert_same(result(run, x[order]), first)


def test_preferent_whatever_is_left_out():
    x, y = data(24)
    run = training(picks=2)
    run.fit((x, y), rounds=3, **SHORT)
    kept = {*run.picked, *run.wrong}
    others = [i for i in range(len(x)) if i not in kept]
    first = result(run, x)
    assert len(others) > 8
    generator = np.random.default_rng(0)
    for share in (0.0, 0.3, 0.6, 0.9):
        left = [i for i in others if generator.random() < share]
        part = np.sort([*kept, *left]).astype(int)
        run.fit((x[part], y[part]), rounds=3, **SHORT)
        assert_same(result(run, x[part]), first)


def test_an_added_wrong_example_changes_the_compression_set():
    x, y = data(24)
    run = training(picks=2)
    run.fit((x, y), rounds=3, **SHORT)
    first = result(run, x)
    new, labels = data(40, 7)
    wrong = np.argmax(run.model.predict(new, verbose=0), axis=1) != labels
    assert wrong.sum() >= 3
    for i in np.flatnonzero(wrong)[:3]:
        more = np.r_[x, new[i : i + 1]], np.r_[y, labels[i : i + 1]]
        run.fit(more, rounds=3, **SHORT)
        again = result(run, more[0])
        assert sorted(again[0]) + again[1] != sorted(first[0]) + first[1]


def test_ends_when_no_other_example_is_wrong():
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    x[:, 0] += 2 * np.sign(x[:, 0])
    y = (x[:, 0] > 0).astype(int)
    run = training(network(0.0))
    history = run.fit((x, y), rounds=[30, 60], **SHORT)
    done = len(history.epoch)
    assert done < 30
    assert history.history["errors_outside"][-1] == 0
    assert len(run.wrong) == 0 and len(run.picked) == 4 * done
    run.verify()


def test_the_best_of_the_listed_rounds_is_taken_and_paid_for():
    x, y = data()
    run = training()
    rounds = [2, 4, 6]
    history = run.fit((x, y), rounds=rounds, **SHORT)
    logs = history.history
    sizes = np.add(logs["picked"], logs["errors_outside"])
    best = min(rounds, key=lambda r: sizes[r - 1])
    assert len(run.picked) == 4 * best
    assert len(run.picked) + len(run.wrong) == sizes[best - 1]
    certificate = run.certificate(0.1)
    expected = gb.bounds.sample_compression_bound(
        int(sizes[best - 1]), num_samples=60, delta=0.1, num_choices=3
    )
    assert certificate.value == expected.value
    assert "best of 3 listed rounds" in certificate.statement()
    run.verify()
    # It is the model of that round.
    other = training(run.model)
    other._first = run._first
    other.fit((x, y), rounds=best, **SHORT)
    assert list(other.picked) == list(run.picked)


def test_trained_again_on_the_compression_set_alone():
    x, y = data()
    run = training()
    run.fit((x, y), rounds=4, augment=noise, **SHORT)
    before = run.model.get_weights()
    certificate = run.certificate()
    assert "which was not tried" in certificate.statement()
    run.verify()
    for a, b in zip(run.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    checked = run.certificate()
    assert "gave the same weights" in checked.statement()
    assert checked.value == certificate.value


def test_a_training_that_cannot_be_repeated_is_refused():
    generator = np.random.default_rng(0)

    def unseeded(x, y, _):
        return x + generator.normal(size=x.shape).astype("float32") / 10, y

    run = training()
    run.fit(data(), rounds=3, augment=unseeded, **SHORT)
    with pytest.raises(ValueError, match="the weights differ"):
        run.verify()


def test_what_a_callback_changes_is_seen():
    class Shift(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            bias = self.model.layers[-1].bias
            bias.assign(bias + logs["errors_outside"] / 10)

    run = training()
    run.fit(data(), rounds=3, callbacks=[Shift()], **SHORT)
    with pytest.raises(ValueError, match="the weights differ"):
        run.verify()


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self._epoch and batch == 1:
            raise Killed

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch


def test_killed_and_resumed(tmp_path):
    x, y = data()
    rounds = [2, 4, 6]
    model = network()
    whole = training(model)
    logs = whole.fit((x, y), rounds=rounds, augment=noise, **SHORT).history
    expected = result(whole, x)
    where = str(tmp_path / "backup")
    for epoch in (3, 5):
        run = training(model)
        run._first = whole._first  # As a new process would build it.
        with pytest.raises(Killed):
            run.fit(
                (x, y),
                rounds=rounds,
                augment=noise,
                backup_dir=where,
                callbacks=[Kill(epoch)],
                **SHORT,
            )
        with pytest.raises(RuntimeError, match="to its end"):
            run.certificate()
    last = training(model)
    last._first = whole._first
    with pytest.raises(ValueError, match="other data or arguments"):
        last.fit((x, y), rounds=7, backup_dir=where, **SHORT)
    fresh = training()
    with pytest.raises(ValueError, match="other first weights"):
        fresh.fit((x, y), rounds=rounds, augment=noise, backup_dir=where, **SHORT)
    last = training(model)
    last._first = whole._first
    history = last.fit((x, y), rounds=rounds, augment=noise, backup_dir=where, **SHORT)
    assert_same(result(last, x), expected)
    assert history.history == logs and history.epoch == list(range(6))
    assert not (tmp_path / "backup").exists()


def test_initial_data_is_not_counted():
    x, y = data()
    other = data(50, 3)
    one = {**SHORT, "steps_per_round": 1}
    run = training(network(0.0), optimizer=keras.optimizers.Adam(0.005))
    run.fit((x, y), rounds=1, initial_data=other, initial_steps=300, **one)
    certificate = run.certificate()
    assert certificate.num_samples == 60 and certificate.num_picked == 4
    run.verify()
    few = len(run.wrong)
    run.fit((x, y), rounds=1, **one)
    assert few + 5 < len(run.wrong)
    with pytest.raises(ValueError, match="5 examples that are in both"):
        run.fit((x, y), rounds=2, initial_data=(x[:5], y[:5]), initial_steps=1, **SHORT)
    with pytest.raises(ValueError, match="belong together"):
        run.fit((x, y), rounds=2, initial_data=other, **SHORT)


def test_a_second_fit_begins_anew_and_other_settings_are_paid_for():
    x, y = data()
    run = training()
    run.fit((x, y), rounds=3, **SHORT)
    first = result(run, x)
    run.fit((x, y), rounds=3, **SHORT)
    assert_same(result(run, x), first)
    run.certificate()
    run.fit((x, y), rounds=2, **SHORT)
    with pytest.raises(ValueError, match="2 different runs"):
        run.certificate()
    paid = run.certificate(num_models=2)
    size = len(run.picked) + len(run.wrong)
    assert paid.value == pytest.approx(
        gb.bounds.sample_compression_bound(size, num_samples=60, delta=0.025).value
    )


def test_json_and_verify_from_the_parts():
    x, y = data()
    keras.utils.set_random_seed(1)
    run = training()
    run.fit((x, y), rounds=[2, 3], augment=noise, **SHORT)
    certificate = run.certificate(num_models=2)
    again = gb.Certificate.from_json(certificate.to_json())
    assert again == certificate and isinstance(again, gb.Certificate)
    keras.utils.set_random_seed(1)
    fresh = training()
    order = np.random.default_rng(2).permutation(len(x))
    verified = again.verify(
        run.model, (x[order], y[order]), training=fresh, augment=noise
    )
    assert "gave the same weights" in verified.statement()
    assert verified.fingerprints == certificate.fingerprints
    with pytest.raises(ValueError, match="sha256 of the weights, trained again"):
        again.verify(run.model, (x, y), training=fresh)
    with pytest.raises(ValueError, match="sha256 of the data"):
        again.verify(run.model, (x, 1 - y), training=fresh, augment=noise)
    fields = json.loads(certificate.to_json())
    fields["bound"]["value"] /= 2
    wrong = gb.Certificate.from_json(json.dumps(fields))
    with pytest.raises(ValueError, match="the bound is"):
        wrong.verify(run.model, (x, y), training=fresh, augment=noise)
    fields = json.loads(certificate.to_json())
    fields["picked"][0] = "00" * 32
    wrong = gb.Certificate.from_json(json.dumps(fields))
    with pytest.raises(ValueError, match="in the data is"):
        wrong.verify(run.model, (x, y), training=fresh, augment=noise)


@pytest.mark.parametrize("kind", ["tf.data", "PyDataset"])
def test_datasets_are_read_once(kind):
    x, y = data()
    run = training()
    run.fit((x, y), rounds=3, **SHORT)
    first = result(run, x)
    if kind == "tf.data":
        tf = pytest.importorskip("tensorflow")
        dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(7)
    else:
        dataset = Batches(x, y)
    run.fit(dataset, rounds=3, **SHORT)
    assert_same(result(run, x), first)


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self._x, self._y = x, y

    num_batches = 6

    def __getitem__(self, index):
        part = slice(index * 10, index * 10 + 10)
        return self._x[part], self._y[part]


class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if logs["errors_outside"] < 60:
            self.model.stop_training = True


@pytest.mark.parametrize(
    "callback, match",
    [
        (keras.callbacks.EarlyStopping("loss"), "may stop earlier"),
        (keras.callbacks.ReduceLROnPlateau(), "learning rate schedule"),
        (keras.callbacks.LearningRateScheduler(lambda e: 0.1), "rate schedule"),
        (Stop(), "A callback ended the training"),
    ],
)
def test_callbacks_that_steer_are_refused(callback, match):
    run = training()
    with pytest.raises(ValueError, match=match):
        run.fit(data(), rounds=3, callbacks=[callback], **SHORT)
    with pytest.raises(RuntimeError, match="to its end"):
        run.certificate()


def test_one_output():
    x, y = data()
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, activation="sigmoid")])
    run = PickToLearn(model, picks=4)
    run.compile(keras.optimizers.Adam(0.1), "binary_crossentropy")
    run.fit((x, y), rounds=4, **SHORT)
    outputs = run.model.predict(x, verbose=0)[:, 0]
    wrong = set(np.flatnonzero((outputs > 0.5) != (y == 1)))
    assert set(run.wrong) == wrong - set(run.picked)
    run.verify()


def test_repeats_are_warned_of_and_counted_as_often_as_they_are():
    x, y = data(30)
    x, y = np.r_[x, x], np.r_[y, y]
    run = training()
    with pytest.warns(UserWarning, match="Only 30 of 60 samples are distinct"):
        run.fit((x, y), rounds=3, **SHORT)
    run.verify()
    assert run.certificate().fingerprints["repeated"] == 30


@pytest.mark.parametrize(
    "options, kind, match",
    [
        ({"rounds": 0}, ValueError, "rounds=0"),
        ({"rounds": []}, ValueError, "increasing order"),
        ({"rounds": [3, 2]}, ValueError, "increasing order"),
        ({"rounds": lambda n: n < 3}, ValueError, "no other rule"),
        ({"rounds": 2.5}, ValueError, "no other rule"),
        ({"steps_per_round": 0}, ValueError, "steps_per_round=0"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"batch_size": -1}, ValueError, "batch_size=-1"),
    ],
)
def test_bad_input(options, kind, match):
    run = training()
    with pytest.raises(kind, match=match):
        run.fit(data(), **{"rounds": 2, **SHORT, **options})


def test_more_bad_input():
    x, y = data()
    with pytest.raises(ValueError, match="must be built"):
        PickToLearn(keras.Sequential([layers.Dense(2)]))
    with pytest.raises(ValueError, match="picks=0"):
        PickToLearn(network(), picks=0)
    with pytest.raises(ValueError, match="seed=-1"):
        PickToLearn(network(), seed=-1)
    run = PickToLearn(network())
    with pytest.raises(RuntimeError, match="`compile` before"):
        run.fit((x, y), rounds=2, **SHORT)
    with pytest.raises(ValueError, match="loss=None"):
        run.compile("adam")
    run.compile("adam", LOSS)
    with pytest.raises(RuntimeError, match="to its end"):
        run.picked  # noqa: B018
    with pytest.raises(ValueError, match="pass `\\(x, y\\)`"):
        run.fit((x, y, np.ones(60)), rounds=2, **SHORT)
    run.compile("adam", lambda y_true, y_pred: keras.ops.mean(y_pred))
    with pytest.raises(ValueError, match="a loss of its own"):
        run.fit((x, y), rounds=2, **SHORT)


@pytest.mark.tensorflow
def test_replicas_are_refused(strategy):
    with strategy.scope():
        model = network()
        run = training(model)
        with pytest.raises(ValueError, match="2 replicas"):
            run.fit(data(), rounds=2, **SHORT)


@pytest.mark.tensorflow
def test_graph_and_xla():
    x, y = data()
    for compiled in (False, True):
        run = training(jit_compile=compiled)
        run.fit((x, y), rounds=3, **SHORT)
        run.verify()
