"""What a type checker makes of a user's program: `mypy` reads this, nobody runs it."""

from typing import assert_type

import keras
import numpy as np

import tf_genbounds as gb


def prove(model: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
    held_out = gb.certify(model, (x, y), num_models=3, groups="class")
    assert_type(held_out.value, float)
    assert_type(gb.Certificate.from_json(held_out.to_json()), gb.Certificate)
    picking = gb.pick_to_learn.PickToLearn(model, picks=16)
    picking.compile("adam", "sparse_categorical_crossentropy")
    picking.fit((x, y), rounds=range(5, 21, 5), steps_per_round=10)
    assert_type(picking.certificate(0.01).num_picked, int)
    drawing = gb.pac_bayes.PACBayes(model, prior_std=0.01, objective="lambda")
    drawing.compile("adam", "sparse_categorical_crossentropy")
    drawing.fit((x, y), prior_epochs=2, posterior_epochs=2)
    assert_type(drawing.certify(passes=2).kl, float)
    assert_type(drawing.model, gb.pac_bayes.RandomizedModel)
    network, of_draw = drawing.certify_draw()
    assert_type(of_draw, gb.pac_bayes.DrawCertificate)
    network.predict(x)
    compressed = gb.compress(model, (x, y), delta=0.01)
    assert_type(compressed, gb.compression.Compressed)
    phases = gb.two_phase.TwoPhaseTraining(model, standard_fraction=0.2)
    phases.compile("adam", "sparse_categorical_crossentropy")
    phases.fit((x, y), 1, 1)
    assert_type(phases.bound(), gb.bounds.Bound)
    gb.report(model, (x, y), bounds={"held out": held_out}).to_html("report.html")


def measure(model: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
    found = gb.measure(model, (x, y), quantities=["margins"], num_samples=64)
    assert_type(found, gb.Measurements)
    assert_type(found.margin(), float)
    assert_type(found.layers["dense"], gb.LayerMeasurements)
    studied = gb.experiments.noise_stability(model, (x, y), num_samples=None)
    assert_type(studied, gb.experiments.NoiseStability)


def train(model: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
    loss = gb.losses.DARC1("sparse_categorical_crossentropy", factor=0.1)
    model.compile("adam", loss, metrics=[gb.metrics.StableRank()])
    monitor = gb.callbacks.GeneralizationMonitor((x, y), ["layer_cushion"])
    model.fit(x, y, callbacks=[monitor])


def bound() -> None:
    found = gb.bounds.validation_bound(0.02, num_samples=1000, form="binomial")
    assert_type(found, gb.bounds.Bound)
    assert_type(gb.bounds.klinv(0.1, 0.02), float)
    draws = gb.bounds.gibbs_bound(0.01, num_draws=24_000)
    gb.bounds.pac_bayes_bound(draws, kl=2.0, num_samples=30_000, delta=0.04)
