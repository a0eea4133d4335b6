"""Reports made by hand, so that every number in them is known."""

import dataclasses

import numpy as np
import pytest

from tf_genbounds.experiments import NoiseAttenuation
from tf_genbounds.measure.layer_measurements import LayerMeasurements
from tf_genbounds.measure.layer_measurements import PairMeasurements
from tf_genbounds.measure.measurements import Measurements
from tf_genbounds.report import Report


def measurements(scale=1.0):
    cushions = np.array([0.002, 0.1, 0.4, np.inf], "float32") * scale
    layers = {
        "conv": LayerMeasurements(
            name="conv",
            kind="Conv2D",
            input_shape=(8, 8, 1),
            output_shape=(8, 8, 4),
            num_parameters=36,
            num_channels=4,
            batch_norm="norm",
            spectral_norm=2.0 * scale,
            kernel_spectral_norm=1.5,
            frobenius_norm=3.0,
            operator_frobenius_norm=24.0,
            stable_rank=4.0,
            operator_stable_rank=144.0,
            converged=True,
            layer_cushion=float(cushions.min()),
            activation_contraction=1.0,
            num_degenerate=1,
        ),
        "logits": LayerMeasurements(
            name="logits",
            kind="Dense",
            input_shape=(256,),
            output_shape=(3,),
            num_parameters=768,
            num_channels=3,
            spectral_norm=5.25,
            frobenius_norm=6.0,
            stable_rank=1.306,
            converged=False,
            activation_contraction=float("inf"),
        ),
    }
    return Measurements(
        layers=layers,
        num_samples=4,
        train_error=0.25,
        margins=np.array([-1.0, 0.5, 2.0, 3.0], "float32") * scale,
        unsupported={"lstm": "LSTM runs in a loop"},
        notes=("The softmax of 'logits' is removed: margins are of logits.",),
        settings={"model": "net", "bias": "ignore", "seed": 0},
        distributions={("layer_cushion", "conv"): cushions},
    )


def stability(scale=1.0):
    """What is between the two layers, on two samples."""
    pair = "conv", "logits"
    cushions = np.array([0.25, 0.125], "float32") * scale
    distributions = {
        ("layer_cushion", "conv"): np.array([0.5, 0.75], "float32"),
        ("layer_cushion", "logits"): np.array([0.5, 0.25], "float32"),
        ("activation_contraction", "logits"): np.array([1.5, 1.25], "float32"),
        ("unclipped_interlayer_cushion", "conv"): cushions,
        ("interlayer_cushion", pair): cushions,
        ("standard_error", pair): np.array([0.0, 0.01], "float32"),
        ("jacobian_spread", "conv"): np.array([2.0, 1.5], "float32"),
        ("interlayer_smoothness", "conv"): np.array([[9, 4], [7, 5.0]], "float32"),
    }
    conv, logits = (
        dataclasses.replace(
            layer, layer_cushion=None, activation_contraction=None
        ).summarized(distributions, **fields)
        for layer, fields in zip(
            measurements().layers.values(),
            (
                {"activation_contraction": 1.0},
                {"jacobian_spread": 1.0, "minimal_interlayer_cushion": 3**-0.5},
            ),
            strict=True,
        )
    )
    return Measurements(
        layers={"conv": conv, "logits": logits},
        pairs={
            pair: PairMeasurements.of(
                pair, distributions, num_probes=8, cut=True, normalized=False
            )
        },
        num_samples=2,
        max_output_norm=4.0,
        distributions=distributions,
    )


def attenuation(scale=1.0):
    errors = {("conv", "conv"): 0.1, ("conv", "logits"): 0.04, ("logits",) * 2: 0.2}
    return NoiseAttenuation(
        model="net",
        layers=("conv", "logits"),
        errors={pair: (scale * mean,) * 4 for pair, mean in errors.items()},
        relative_norm=0.1,
        at="input",
        num_samples=2,
        num_draws=3,
    )


def history(scale=1.0):
    return {
        "loss": [2.0 * scale, 1.0, 0.05],
        "val_loss": [2.5, 1.5, float("nan")],
        "stable_rank/conv": [3.0, 3.5, 4.0],
        "stable_rank/logits": [1.0, 1.2, 1.306],
        "val_stable_rank/conv": [3.0, 3.5, 4.0],
        "layer_cushion/conv": [0.1, 0.01, 0.002],
    }


def made(title="net", scale=1.0, **fields):
    validation = Measurements(
        layers={},
        num_samples=2,
        train_error=0.5,
        margins=np.array([-2.0, 4.0], "float32"),
    )
    return Report(
        title=title,
        model={"name": "net", "class": "Functional", "num_parameters": 12345},
        train=measurements(scale),
        **{
            "validation": validation,
            "stability": stability(scale),
            "attenuation": attenuation(scale),
            "history": history(scale),
            **fields,
        },
    )


@pytest.fixture
def single():
    return made()


@pytest.fixture
def compared():
    return made("after", baseline=made("before", scale=2.0))


@pytest.fixture
def bare():
    """Without labels, validation data and history."""
    facts = {"name": "bare", "class": "Model", "num_parameters": 3}
    train = Measurements(layers=measurements().layers, num_samples=4)
    return Report("bare", facts, train)
