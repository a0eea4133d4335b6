"""What is certified, by what, and what may not get into the prior."""

import dataclasses

import keras
import numpy as np
import pytest
import simulation
from keras import layers
from keras import ops
from scipy import stats

import tf_genbounds as gb
from tf_genbounds.pac_bayes import BoundedCrossentropy
from tf_genbounds.pac_bayes import PACBayes
from tf_genbounds.pac_bayes import RandomizedModel
from tf_genbounds.pac_bayes.certificate import certificate_of
from tf_genbounds.pac_bayes.certificate import shares
from tf_genbounds.pac_bayes.counted import split
from tf_genbounds.pac_bayes.gibbs import Judge
from tf_genbounds.pac_bayes.gibbs import fresh_seed
from tf_genbounds.pac_bayes.gibbs import in_blocks
from tf_genbounds.pac_bayes.randomized_model import copies

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SHORT = dict(prior_epochs=2, posterior_epochs=2, verbose=0)


def data(samples=61, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(samples, 3)).astype("float32")
    return x, (x[:, 0] + x[:, 1] > 0).astype("int64")


def network(end=None):
    return keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(6, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(2, activation=end),
        ]
    )


def training(model=None, loss=LOSS, **options):
    compiling = {
        key: options.pop(key) for key in ("metrics", "posterior_loss") if key in options
    }
    found = PACBayes(model or network(), **{"prior_std": 0.1, **options})
    if keras.backend.backend() == "tensorflow":
        compiling["jit_compile"] = False  # It compiles faster.
    found.compile(keras.optimizers.Adam(0.05), loss, **compiling)
    return found


@pytest.fixture(scope="module")
def run():
    """One that has been trained, for all tests that only look."""
    keras.utils.set_random_seed(0)
    found = training(metrics=["accuracy"], seed=1)
    found.history = found.fit(data(), validation_data=data(20, 7), **SHORT)
    found.certificate = found.certify(passes=3, blocks=10)
    return found


def test_history_of_both_phases(run):
    history = run.history.history
    assert history["phase"] == ["prior"] * 2 + ["posterior"] * 2
    assert run.history.epoch == [0, 1, 2, 3]
    assert {len(history[k]) for k in ("loss", "accuracy", "val_loss")} == {4}
    assert {len(history[k]) for k in ("error", "kl", "bound", "val_error")} == {2}
    expected = gb.bounds.pac_bayes_bound(
        history["error"][-1], kl=run.model.kl(), num_samples=31
    )
    assert history["bound"][-1] == expected.value


def test_errors_against_weights_that_are_set_by_hand(run):
    """The slow twin: a network of its own for each block and pass."""
    x, y = data()
    generator = np.random.default_rng([1, 0])
    counted = generator.permutation(61)[30:]
    seeds = keras.random.SeedGenerator(fresh_seed(run.model, 3))
    copy = network()
    copy.set_weights(copies(run.model.network.weights))
    kernels = [copy.layers[0].kernel, copy.layers[0].bias]
    kernels += [copy.layers[2].kernel, copy.layers[2].bias]
    errors = 0
    for _ in range(3):
        for block in range(10):
            for variable, mean, spread in zip(
                kernels, run.model.means, run.model.spreads, strict=True
            ):
                noise = ops.convert_to_numpy(
                    keras.random.normal(variable.shape, seed=seeds)
                )
                std = np.log1p(np.exp(ops.convert_to_numpy(spread)))
                variable.assign(ops.convert_to_numpy(mean) + std * noise)
            own = counted[3 * block : 3 * block + 3]
            logits = copy.predict_on_batch(x[own])
            errors += np.sum(np.argmax(logits, axis=1) != y[own])
    certificate = run.certificate
    assert certificate.errors == errors > 0
    assert certificate.empirical == errors / 90


def test_numbers_of_the_certificate(run):
    certificate = run.certificate
    draws = gb.bounds.gibbs_bound(certificate.errors / 90, num_draws=30, delta=0.01)
    bound = gb.bounds.pac_bayes_bound(
        draws, kl=run.model.kl(), num_samples=30, delta=0.04
    )
    assert certificate.value == bound.value
    assert (certificate.num_samples, certificate.num_prior) == (30, 30)
    assert (certificate.delta, certificate.kl) == (0.05, run.model.kl())
    # Two that could be compared share every part of the failure probability.
    again = run.certify(passes=3, blocks=10, num_models=2)
    draws = gb.bounds.gibbs_bound(certificate.errors / 90, num_draws=30, delta=0.005)
    bound = gb.bounds.pac_bayes_bound(
        draws, kl=run.model.kl(), num_samples=30, delta=0.02
    )
    assert again.value == bound.value
    assert again.delta == 0.05


def test_what_is_drawn_for_the_certificate_leaves_the_model_as_it_was(run):
    state = copies([run.model.predict_seeds.state])[0]
    weights = copies(run.model.weights)
    assert run.certify(passes=3, blocks=10) == run.certificate
    np.testing.assert_array_equal(copies([run.model.predict_seeds.state])[0], state)
    for a, b in zip(weights, copies(run.model.weights), strict=True):
        np.testing.assert_array_equal(a, b)


def test_json_and_verify(run, tmp_path):
    certificate = gb.Certificate.from_json(run.certificate.to_json())
    assert certificate == run.certificate
    assert certificate.statement() == str(run.certificate)
    run.model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    x, y = data()
    assert certificate.verify(model, (x, y)) is certificate
    with pytest.raises(ValueError, match="sha256 of the data in their order"):
        certificate.verify(model, (x[::-1], y[::-1]))
    with pytest.raises(ValueError, match="sha256 of the data is"):
        certificate.verify(model, (x + 1, y))
    with pytest.raises(ValueError, match="draws its weights"):
        certificate.verify(run.mean_model, (x, y))
    for changed in ({"errors": 0}, {"kl": 0.0}):
        with pytest.raises(ValueError, match="the number of errors|the divergence"):
            dataclasses.replace(certificate, **changed).verify(model, (x, y))
    other = {**certificate.fingerprints["versions"], "backend": "torch"}
    of = {**certificate.fingerprints, "versions": other}
    with pytest.raises(ValueError, match="another backend"):
        dataclasses.replace(certificate, fingerprints=of).verify(model, (x, y))
    model.means[0].assign(copies(model.means)[0] + 1)
    with pytest.raises(ValueError, match="sha256 of the weights"):
        certificate.verify(model, (x, y))


def test_statement(run):
    text = str(run.certificate)
    for part in (
        "With probability 0.95 over the draw of the 30 examples that are counted",
        "the randomized network, which draws its weights anew for each batch",
        "in 3 passes with fresh weights for each of 10 blocks",
        "which was trained on 30 other examples",
        "It does not speak of the network with the mean weights",
    ):
        assert part in text
    found = {a.text: a.status for a in run.certificate.assumptions}
    assert (
        found[
            "the validation data of the prior's training does not depend on the "
            "counted examples (no input is in both)"
        ]
        == "unchecked"
    )
    assert found["no callback of the prior's training depends on the counted examples"]
    assert "each of the 30 errors is of fresh weights" in " ".join(found)


def test_the_mean_model_is_not_certified_and_says_so(run):
    mean = run.mean_model
    assert mean.name.endswith("_mean_not_certified")
    for variable, expected in zip(
        mean.trainable_variables, run.model.means, strict=True
    ):
        np.testing.assert_array_equal(copies([variable])[0], copies([expected])[0])
    # Nothing is shared: training goes on elsewhere.
    mean.predict(data()[0], verbose=0)
    run.model.predict(data()[0], verbose=0)


def test_the_counted_part_does_not_get_into_the_prior():
    x, y = data()
    _, counted = split(61, 0.5, 0)
    other = y.copy()
    other[counted] = 1 - other[counted]
    weights = []
    for labels in (y, other):
        keras.utils.set_random_seed(3)
        model = network()
        training(model).fit((x, labels), **SHORT)
        weights.append(copies(model.weights))
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_split_and_blocks():
    of_prior, counted = split(10, 0.3, 5)
    assert sorted([*of_prior, *counted]) == list(range(10))
    assert len(of_prior) == 3
    assert (split(10, 0.3, 5)[1] == counted).all()
    assert (split(10, 0.3, 6)[1] != counted).any()
    assert in_blocks(counted, 100).shape == (7, 1)
    assert in_blocks(counted, 2).tolist() == [
        counted[:3].tolist(),
        counted[3:6].tolist(),
    ]


@pytest.mark.parametrize("delta", [0.05, 0.1, 0.3, 1 / 3, 0.999, 1e-12])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_shares_are_no_more_than_the_whole(delta, count):
    draws, sample = shares(delta, count)
    assert draws * 4 == pytest.approx(sample, rel=1e-12)
    assert (draws + sample) * count == pytest.approx(delta, rel=1e-12)


def test_prior_without_data():
    x, y = data()
    model = network()
    before = copies(model.weights)
    run = training(model, prior_fraction=0.0)
    history = run.fit((x, y), prior_epochs=0, posterior_epochs=1, verbose=0)
    assert history.history["phase"] == ["posterior"]
    for a, b in zip(before, copies(model.weights), strict=True):
        np.testing.assert_array_equal(a, b)
    certificate = run.certify(passes=1, blocks=61)
    assert (certificate.num_samples, certificate.num_prior) == (61, 0)
    assert "which was trained on no example" in str(certificate)


def test_every_run_and_look_is_paid_for(run):
    own = training()
    own.fit(data(), **SHORT)
    own.certify(passes=1, blocks=4)
    with pytest.raises(ValueError, match="2 different runs"):
        own.certify(passes=2, blocks=4)
    own.certify(passes=2, blocks=4, num_models=2)
    own.certify(passes=2, blocks=4, num_models=2)
    own.fit(data(), prior_epochs=0, posterior_epochs=0)
    with pytest.raises(ValueError, match="3 different runs"):
        own.certify(passes=2, blocks=4, num_models=2)
    certificate = own.certify(passes=2, blocks=4, num_models=3)
    assert "one of 3 runs" in str(certificate)


def test_each_fit_begins_anew():
    x, y = data()
    model = network()
    first = copies(model.weights)
    run = training(model)
    run.fit((x, y), **SHORT)
    assert not model.layers[1].trainable
    run.fit((x, y), prior_epochs=0, posterior_epochs=0)
    for a, b in zip(first, copies(model.weights), strict=True):
        np.testing.assert_array_equal(a, b)
    assert run.model.kl() == pytest.approx(0, abs=1e-6)


def test_a_prior_that_was_trained_on_is_refused():
    model = network()
    run = training(model)
    run.fit(data(), **SHORT)
    model.compile("sgd", LOSS)
    model.fit(*data(), verbose=0)
    with pytest.raises(ValueError, match="have changed since"):
        run.certify(passes=1, blocks=4)


class Meddling(keras.callbacks.Callback):
    """Moves the prior while the posterior is trained."""

    def on_train_end(self, logs=None):
        if isinstance(self.model, RandomizedModel):
            kernel = self.model.network.trainable_variables[0]
            kernel.assign(copies([kernel])[0] + 1)


def test_a_prior_that_a_callback_moves_later_is_refused():
    run = training()
    run.fit(data(), callbacks=[Meddling()], **SHORT)
    with pytest.raises(ValueError, match="have changed since"):
        run.certify(passes=1, blocks=4)


def test_validation_data_that_is_counted_is_no_guarantee():
    x, y = data()
    run = training()
    run.fit((x, y), validation_data=(x, y), **SHORT)
    certificate = run.certify(passes=1, blocks=4)
    assert str(certificate).startswith("NOT A GUARANTEE, since it fails that no input")


def test_weights_that_were_trained_before_are_named():
    model = network()
    model.compile("sgd", LOSS)
    model.fit(*data(), verbose=0)
    run = training(model)
    run.fit(data(), **SHORT)
    texts = [a.text for a in run.certify(passes=1, blocks=4).assumptions]
    assert any("its optimizer has made 2 steps" in text for text in texts)


@pytest.mark.parametrize(
    "end, units, loss",
    [
        ("softmax", 2, "sparse_categorical_crossentropy"),
        ("sigmoid", 1, "binary_crossentropy"),
        (None, 1, keras.losses.BinaryCrossentropy(from_logits=True)),
    ],
)
def test_ends(end, units, loss):
    x, y = data()
    model = keras.Sequential([keras.Input((3,)), layers.Dense(units, activation=end)])
    run = training(model, loss)
    run.fit((x, y[:, None]), **SHORT)
    assert run.model.loss.from_logits == (end is None)
    certificate = run.certify(passes=1, blocks=30)
    # Nearly the mean network, so that its errors are nearly those.
    outputs = run.mean_model.predict(x, verbose=0)
    found = outputs[:, 0] > (0.5 if end else 0.0) if units == 1 else outputs.argmax(1)
    assert certificate.empirical == pytest.approx(np.mean(found != y), abs=0.25)


def test_an_end_that_says_nothing_needs_a_loss():
    def model():
        return keras.Sequential(
            [keras.Input((3,)), layers.Dense(2, "softmax"), layers.Lambda(ops.square)]
        )

    run = training(model())
    with pytest.raises(ValueError, match="posterior_loss=gb"):
        run.fit(data(), **SHORT)
    run = training(model(), posterior_loss=BoundedCrossentropy())
    run.fit(data(), **SHORT)


def test_certificates_hold_for_the_worst_posterior():
    """Labels are noise: the risk of every network is 1/2, whatever the sample says."""
    num_trials, samples, delta = 300, 20, 0.4
    net = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    net.set_weights([np.zeros((1, 1), "float32")])
    model = RandomizedModel(net, samples, prior_std=1.0, threshold=0.0)
    x = np.sign(np.linspace(-1, 1, samples, dtype="float32"))[:, None]
    judge = Judge.of(net, (x, np.zeros(samples, int)), 0.0)
    model.spreads[0].assign([[np.log(np.expm1(0.3))]])
    generator = np.random.default_rng(0)
    violations = without_price = 0
    for _ in range(num_trials):
        y = generator.integers(0, 2, samples)
        right = np.mean((x[:, 0] > 0) == y)
        model.means[0].assign([[1.0 if right > 0.5 else -1.0]])
        found = certificate_of(
            model,
            (x, y),
            judge,
            prior_fraction=0.0,
            seed=0,
            delta=delta,
            passes=1,
            blocks=samples,
            num_models=1,
            num_prior=0,
        )
        violations += found.value < 0.5
        without_price += found.empirical < 0.5
    assert violations <= simulation.most_failures(num_trials, delta)
    # The test could fail: the errors that were seen are no bound.
    assert without_price > simulation.most_failures(num_trials, delta)


@pytest.mark.tensorflow
def test_replicas_are_refused(strategy):
    with strategy.scope():
        run = training()
        with pytest.raises(ValueError, match="2 replicas"):
            run.fit(data(), **SHORT)


def test_refuses():
    with pytest.raises(ValueError, match="prior_fraction=1"):
        PACBayes(network(), prior_fraction=1)
    with pytest.raises(ValueError, match="prior_std=-1"):
        PACBayes(network(), prior_std=-1)
    with pytest.raises(ValueError, match="seed=True"):
        PACBayes(network(), seed=True)
    with pytest.raises(ValueError, match="objective='lamda'"):
        PACBayes(network(), objective="lamda")
    run = PACBayes(network())
    with pytest.raises(RuntimeError, match="`compile` before"):
        run.fit(data(), **SHORT)
    with pytest.raises(ValueError, match="loss=None"):
        run.compile("adam")
    run = training()
    with pytest.raises(RuntimeError, match="Call `fit` first"):
        run.certify()
    with pytest.raises(RuntimeError, match="Call `fit` first"):
        run.model  # noqa: B018
    x, y = data()
    with pytest.raises(ValueError, match="pass `\\(x, y\\)`"):
        run.fit((x, y, np.ones(61)), **SHORT)
    with pytest.raises(ValueError, match="prior_epochs=-1"):
        run.fit((x, y), prior_epochs=-1, posterior_epochs=1)
    with pytest.raises(ValueError, match="need examples"):
        training(prior_fraction=0.0).fit((x, y), **SHORT)
    with pytest.raises(ValueError, match="along the batch axis"):
        mixing = keras.Sequential(
            [keras.Input((3,)), layers.UnitNormalization(axis=0), layers.Dense(2)]
        )
        training(mixing).fit((x, y), **SHORT)
    for wrong in ({"delta": 0}, {"passes": 0}, {"blocks": 1.5}):
        run.fit((x, y), prior_epochs=0, posterior_epochs=0)
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
            run.certify(num_models=9, **wrong)


def test_inputs_that_are_in_both_parts_are_named():
    x, y = data()
    of_prior, counted = split(61, 0.5, 0)
    x[counted[:2]], y[counted[:2]] = x[of_prior[:2]], y[of_prior[:2]]
    run = training()
    with pytest.warns(UserWarning, match="Only 59 of 61 samples are distinct"):
        run.fit((x, y), **SHORT)
    texts = [a.text for a in run.certify(passes=1, blocks=4).assumptions]
    assert (
        "the 2 inputs of the counted examples that the prior's training has as well are "
        "independent draws, and no copies"
    ) in texts


def test_a_drawn_network():
    x, y = data()
    run = training()
    run.fit((x, y), **SHORT)
    network, certificate = run.certify_draw(0.1)
    weights = copies(network.trainable_variables)
    model = run.model
    # The slow twin: densities of SciPy, weight by weight.
    log_ratio = sum(
        np.sum(
            stats.norm.logpdf(np.float64(w), np.float64(m), np.float64(s))
            - stats.norm.logpdf(np.float64(w), np.float64(w0), 0.1)
        )
        for w, m, s, w0 in zip(
            weights,
            copies(model.means),
            copies(model.stds()),
            copies(model.network.trainable_variables),
            strict=True,
        )
    )
    assert certificate.log_ratio == pytest.approx(log_ratio, rel=1e-6)
    _, counted = split(61, 0.5, 0)
    outputs = network.predict(x[counted], verbose=0)
    errors = np.sum(np.argmax(outputs, axis=1) != y[counted])
    assert certificate.errors == errors
    bound = gb.bounds.disintegrated_bound(
        errors / 31, log_ratio=certificate.log_ratio, num_samples=31, delta=0.1
    )
    assert certificate.value == bound.value
    assert certificate.num_prior == 30
    text = str(certificate)
    assert "of the 31 examples that are counted and the one draw of the weights" in text
    assert "the weights are one draw from the posterior" in str(certificate.bound)
    # One draw for each posterior; another one is another run.
    again, other = run.certify_draw(0.1)
    assert other == certificate
    with pytest.raises(ValueError, match="2 different runs"):
        run.certify(passes=1, blocks=4)
    for a, b in zip(weights, copies(again.trainable_variables), strict=True):
        np.testing.assert_array_equal(a, b)

    read = gb.Certificate.from_json(certificate.to_json())
    assert read == certificate
    assert read.verify(network, (x, y), posterior=model) is read
    with pytest.raises(ValueError, match="sha256 of the weights"):
        read.verify(run.mean_model, (x, y), posterior=model)
    with pytest.raises(ValueError, match="sha256 of the data in their order"):
        read.verify(network, (x[::-1], y[::-1]), posterior=model)
    changed = dataclasses.replace(read, log_ratio=0.0)
    with pytest.raises(ValueError, match="the log ratio"):
        changed.verify(network, (x, y), posterior=model)


def test_draws_of_another_posterior_are_others():
    model = RandomizedModel(network(), 10)
    seeds = {fresh_seed(model, 3), fresh_seed(model, 4)}
    model.means[0].assign(copies(model.means)[0] + 1e-3)
    assert len(seeds | {fresh_seed(model, 3), fresh_seed(model, 4)}) == 4


def test_drawn_networks_hold_as_often_as_they_should():
    """Labels are noise, and the posterior follows them: the risk is 1/2 anyway."""
    samples, delta, trials = 20, 0.4, 4000
    generator = np.random.default_rng(0)
    x = np.sign(np.linspace(-1, 1, samples))
    violations = ignored = 0
    for _ in range(trials):
        y = generator.integers(0, 2, samples) * 2 - 1
        mean = 1.0 if np.mean(x * y) > 0 else -1.0
        w = generator.normal(mean, 0.3)
        empirical = np.mean(np.sign(w * x) != y)
        ratio = gb.bounds.gaussian_log_ratio([w], [mean], [0.3], [0.0], [1.0])
        for log_ratio in (ratio, 0.0):
            value = gb.bounds.disintegrated_bound(
                empirical, log_ratio=log_ratio, num_samples=samples, delta=delta
            ).value
            violations += value < 0.5 and log_ratio == ratio
            ignored += value < 0.5 and log_ratio == 0.0
    assert violations <= simulation.most_failures(trials, delta)
    assert ignored > violations


def test_half_precision_and_several_outputs():
    x, y = data()
    for policy in ("mixed_float16", "float16"):
        keras.config.set_dtype_policy(policy)
        try:
            run = training(network())
            run.fit((x, y), **SHORT)
            certificate = run.certify(passes=1, blocks=10)
            assert certificate.verify(run.model, (x, y)) is certificate
        finally:
            keras.config.set_dtype_policy("float32")
    inputs = keras.Input((3,))
    outputs = [layers.Dense(2, name="a")(inputs), layers.Dense(2, name="b")(inputs)]
    run = PACBayes(keras.Model(inputs, outputs))
    run.compile("sgd", {"a": LOSS, "b": LOSS})
    with pytest.raises(ValueError, match="one output, which decides"):
        run.fit((x, {"a": y, "b": y}), prior_epochs=0, posterior_epochs=0)


def test_the_log_ratio_is_that_of_the_draw_before_it_is_rounded():
    x, y = data()
    keras.config.set_dtype_policy("bfloat16")
    try:
        net = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
        run = training(net, prior_fraction=0.0)
        run.fit((x, y), prior_epochs=0, posterior_epochs=0)
    finally:
        keras.config.set_dtype_policy("float32")
    model = run.model
    # So narrow that a weight of bfloat16 is many deviations away.
    for mean, spread in zip(model.means, model.spreads, strict=True):
        mean.assign(copies([mean])[0] + 0.3)
        spread.assign(np.full(spread.shape, np.log(np.expm1(1e-5)), "float32"))
    _, certificate = run.certify_draw()
    # Never far below the divergence, of which it is a draw: eight weights.
    assert certificate.log_ratio == pytest.approx(model.kl(), abs=20)


def test_what_is_counted_does_not_change_with_the_arrays():
    x, y = data()
    run = training()
    run.fit((x, y), **SHORT)
    first = run.certify(passes=1, blocks=4)
    y[:] = 1 - y
    run.prior_fraction, run.seed = 0.0, 7
    assert run.certify(passes=1, blocks=4) == first


def test_verify_runs_the_model_that_it_is_given(run):
    x, y = data()
    own = training()
    own.fit((x, y), **SHORT)
    net, certificate = own.certify_draw()
    other = keras.Sequential([keras.Input((3,)), *net.layers, layers.Rescaling(-1.0)])
    with pytest.raises(ValueError, match="the number of errors"):
        certificate.verify(other, (x, y), posterior=own.model)
    bound = dataclasses.replace(run.certificate.bound, empirical=0.0)
    forged = dataclasses.replace(run.certificate, bound=bound)
    with pytest.raises(ValueError, match="what was seen"):
        forged.verify(run.model, (x, y))
    bound = dataclasses.replace(run.certificate.bound, assumptions=())
    forged = dataclasses.replace(run.certificate, bound=bound)
    with pytest.raises(ValueError, match="not named is"):
        forged.verify(run.model, (x, y))
    bound = dataclasses.replace(
        run.certificate.bound, assumptions=(gb.bounds.Assumption("this", "failed"),)
    )
    failing = dataclasses.replace(run.certificate, bound=bound)
    with pytest.raises(ValueError, match="no guarantee to verify"):
        failing.verify(run.model, (x, y))


def test_other_posteriors_and_broken_runs_are_paid_for():
    class Broken(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if "error" in logs:
                raise KeyboardInterrupt

    x, y = data()
    run = training()
    with pytest.raises(KeyboardInterrupt):
        run.fit((x, y), callbacks=[Broken()], **SHORT)
    run.fit((x, y), **SHORT)
    with pytest.raises(ValueError, match="2 different runs"):
        run.certify_draw()
    run.certify_draw(num_models=2)
    run.model.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match="3 different runs"):
        run.certify_draw(num_models=2)


def test_a_prior_that_was_not_trained_says_so():
    run = training()
    run.fit(data(), prior_epochs=0, posterior_epochs=0)
    certificate = run.certify(passes=1, blocks=4)
    assert certificate.num_prior == 0 and certificate.num_samples == 28
    assert "which was trained on no example" in str(certificate)


def test_a_subclassed_network_with_a_frozen_normalization_is_drawn():
    run = training(subclassed())
    run.fit(data(), **SHORT)
    net, certificate = run.certify_draw()
    assert certificate.verify(net, data(), posterior=run.model) is certificate
    run.mean_model.predict(data()[0], verbose=0)


@keras.saving.register_keras_serializable("test_pac_bayes_training")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.last = layers.Dense(4, "relu"), layers.Dense(2)
        self.norm = layers.BatchNormalization()

    def call(self, inputs, training=None):
        return self.last(self.norm(self.first(inputs), training=training))


def subclassed():
    model = Subclassed()
    model(data()[0])
    return model


@pytest.mark.tensorflow
def test_a_layer_that_keeps_something_outside_its_weights_is_refused():
    import tensorflow as tf

    class Centering(layers.Layer):
        def __init__(self):
            super().__init__()
            self.kept = tf.Variable(tf.zeros(3), trainable=False)

        def call(self, x, training=None):
            if training:
                self.kept.assign(self.kept + tf.reduce_mean(x, axis=0) + 1.0)
            return x - self.kept

    model = keras.Sequential([keras.Input((3,)), Centering(), layers.Dense(2)])
    run = training(model)
    with pytest.raises(ValueError, match="outside its weights"):
        run.fit(data(), prior_epochs=0, posterior_epochs=1, verbose=0)
    with pytest.raises(RuntimeError, match="Call `fit` first"):
        run.certify(passes=1, blocks=4)
    with pytest.raises(ValueError, match="outside its weights"):
        run.fit(data(), prior_epochs=0, posterior_epochs=0, verbose=0)
