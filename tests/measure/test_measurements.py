import dataclasses

import models
import numpy as np
import pytest

from tf_genbounds import LayerMeasurements
from tf_genbounds import Measurements
from tf_genbounds import measure
from tf_genbounds.measure.layer_measurements import PairMeasurements

inf, nan = float("inf"), float("nan")


def example(**fields):
    layer = LayerMeasurements(
        name="dense",
        kind="Dense",
        input_shape=(3,),
        output_shape=(4,),
        num_parameters=12,
        num_channels=4,
        layer_cushion=inf,
        stable_rank=2.5,
        converged=True,
    )
    return Measurements(
        layers={"dense": layer},
        num_samples=3,
        train_error=1 / 3,
        margins=np.array([1.0, nan, -inf], "float32"),
        unsupported={"norm": "why"},
        notes=("one", "two"),
        settings={"seed": 0, "bias": "ignore"},
        distributions={
            ("layer_cushion", "dense"): np.array([inf, 0.5, 0.1], "float32")
        },
        **fields,
    )


def test_json_round_trip(tmp_path):
    first = example()
    second = Measurements.from_json(first.to_json(tmp_path / "m.json"))
    assert second.layers == first.layers
    assert second.notes == first.notes
    assert second.unsupported == first.unsupported
    assert second.settings == first.settings
    np.testing.assert_array_equal(second.margins, first.margins)
    assert second.to_json() == first.to_json()
    assert (tmp_path / "m.json").read_text() == first.to_json()


def test_json_round_trip_without_labels():
    first = Measurements(layers={}, num_samples=0)
    assert Measurements.from_json(first.to_json()).margins is None


def test_a_negative_percentile_stays_negative():
    # Taking the absolute value would hide a model that does not fit its data.
    m = Measurements(layers={}, num_samples=4, margins=np.array([-5.0, -1.0, 2.0, 3.0]))
    assert m.margin(percentile=0) == -5
    assert m.margin(percentile=34) == -1
    assert m.margin(percentile=100) == 3


def test_nan_is_the_lowest_margin():
    assert example().margin(percentile=34) == -inf


def test_refuses_bad_arguments():
    with pytest.raises(ValueError, match=r"\[0, 100\]. Received: percentile=101"):
        example().margin(101)
    with pytest.raises(ValueError, match="need labels"):
        Measurements(layers={}, num_samples=0).margin()
    with pytest.raises(ValueError, match="Did you mean 'layer_cushion'"):
        example().distribution("layer_cushoin", "dense")
    with pytest.raises(ValueError, match="Did you mean 'dense'"):
        example().distribution("layer_cushion", "dens")
    with pytest.raises(ValueError, match="was not measured"):
        example().distribution("activation_contraction", "dense")


def measured():
    model = models.convolutional()
    return measure(model, models.data(model), num_draws=3, verbose=0)


def test_json_round_trip_of_interlayer_numbers():
    first = measured()
    second = Measurements.from_json(first.to_json())
    assert second.layers == first.layers
    assert second.pairs == first.pairs
    for key, values in first.distributions.items():
        np.testing.assert_array_equal(second.distributions[key], values)
    assert second.to_json() == first.to_json()


def test_quantile_of_nothing_is_the_minimum():
    first = measured()
    same = first.quantile(0)
    assert same.layers == first.layers and same.pairs == first.pairs
    assert same.dropped == 0


def test_quantile_pays_for_each_sample_once_and_is_monotone():
    first = measured()
    results = [first.quantile(zeta) for zeta in (0, 0.1, 0.26, 0.5)]
    assert [r.dropped for r in results] == [0, 0.1, 0.25, 0.5]
    for few, many in zip(results[:-1], results[1:], strict=True):
        for name in few.layers:
            one, other = few.layers[name], many.layers[name]
            assert one.layer_cushion <= other.layer_cushion
            assert one.activation_contraction >= other.activation_contraction
            assert one.jacobian_spread >= other.jacobian_spread
            assert one.effective_parameters >= other.effective_parameters
            assert one.minimal_interlayer_cushion <= other.minimal_interlayer_cushion
        for pair in few.pairs:
            assert few.interlayer_cushion[pair] <= many.interlayer_cushion[pair]
        assert few.smoothness() <= many.smoothness()
        assert len(few.margins) == len(many.margins)
    with pytest.raises(ValueError, match=r"\[0, 1\). Received: zeta=1"):
        results[0].quantile(1)


def test_quantile_drops_the_worst_of_any_quantity():
    cushions = {
        ("layer_cushion", "dense"): np.array([5.0, 1.0, 3.0, 4.0]),
        ("activation_contraction", "dense"): np.array([2.0, 3.0, 9.0, 1.0]),
    }
    layer = example().layers["dense"]
    result = Measurements(
        layers={"dense": layer}, num_samples=4, distributions=cushions
    ).quantile(0.5)
    # The second sample has the least cushion, the third the most contraction.
    assert result.layers["dense"].layer_cushion == 4
    assert result.layers["dense"].activation_contraction == 2
    assert result.dropped == 0.5


def by_hand(distributions, num_samples):
    """Measurements with these per-sample values, of layers "a" and "b"."""
    layer = example().layers["dense"]
    return Measurements(
        layers={name: dataclasses.replace(layer, name=name) for name in "ab"},
        num_samples=num_samples,
        distributions={k: np.array(v) for k, v in distributions.items()},
    )


def smoothness(a, b):
    """Of shape `(samples, draws)` at both layers."""
    return by_hand(
        {("interlayer_smoothness", "a"): a, ("interlayer_smoothness", "b"): b}, len(a)
    )


def test_the_smoothness_of_a_draw_is_the_least_of_all_layers_and_samples():
    result = smoothness(
        [[9.0, 50.0, 8.0], [7.0, 90.0, 60.0]], [[40.0, 5.0, 70.0], [80.0, 6.0, 30.0]]
    )
    # The draws have 7 (of a), 5 (of b) and 8 (of a).
    quantiles = [result.smoothness(delta) for delta in (0.05, 0.34, 0.67)]
    assert quantiles == [5, 7, 8]


@pytest.mark.parametrize("layer", [0, 1])
def test_nan_is_the_lowest_smoothness(layer):
    values = [np.full((2, 3), 9.0), np.full((2, 3), 9.0)]
    values[layer][1, 2] = nan
    assert np.isnan(smoothness(*values).smoothness())
    assert smoothness(*values).smoothness(0.34) == 9


def test_a_sample_is_as_bad_as_its_worst_draw():
    # On average over the draws the second sample is the worst, not the last.
    values = [[30.0, 30.0], [10.0, 10.0], [1.0, 100.0]]
    left = by_hand({("interlayer_smoothness", "a"): values}, 3).quantile(0.34)
    np.testing.assert_array_equal(
        left.distribution("interlayer_smoothness", "a"), values[:2]
    )


@pytest.mark.parametrize("quantity", ["layer_cushion", "activation_contraction"])
def test_nan_constrains_most(quantity):
    values = [0.3, 0.4, nan, 0.1, 0.9]
    result = by_hand({(quantity, "a"): values}, 5).quantile(0)
    assert np.isnan(getattr(result.layers["a"], quantity))
    left = result.quantile(0.2)
    np.testing.assert_array_equal(
        left.distribution(quantity, "a"), [0.3, 0.4, 0.1, 0.9]
    )
    worst = {"layer_cushion": 0.1, "activation_contraction": 0.9}[quantity]
    assert getattr(left.layers["a"], quantity) == worst


def test_the_error_of_a_pair_is_that_of_its_worst_sample():
    def pair(*cushions):
        distributions = {
            ("interlayer_cushion", ("a", "b")): np.array(cushions),
            ("standard_error", ("a", "b")): np.array([0.01, 0.02, 0.03, 0.04]),
        }
        return PairMeasurements.of(
            ("a", "b"), distributions, num_probes=16, cut=True, normalized=False
        )

    found = pair(0.5, 0.7, 0.1, 0.3)
    assert (found.interlayer_cushion, found.standard_error) == (0.1, 0.03)
    broken = pair(0.5, nan, 0.1, 0.3)
    assert np.isnan(broken.interlayer_cushion) and broken.standard_error == 0.02


def test_effective_parameters_of_measurements():
    result = measured()
    ignored = result.effective_parameters()
    assert ignored.value == pytest.approx(
        sum(layer.effective_parameters for layer in result.layers.values())
    )
    assert [layer.num_parameters for layer in ignored.layers] == [36, 144, 12]
    statuses = {a.text[:16]: a.status for a in ignored.assumptions}
    assert statuses["Every layer is a"] == "checked"
    assert statuses["The norms of the"] == "checked"  # 4 outputs at most.
    explicit = result.effective_parameters("explicit", margin=0.5, delta=0.1)
    layers = result.layers.values()
    eps = 0.5 / np.sqrt(2) / result.max_output_norm
    by_hand = (
        72
        * max(layer.pooled_contraction for layer in layers) ** 2
        * max(layer.jacobian_spread for layer in layers) ** 2
        * 9
        * np.log(20 * 3 * 256 / 0.1)
        / eps**2
        * sum(
            layer.patch_overlap
            / (layer.layer_cushion * layer.minimal_interlayer_cushion) ** 2
            for layer in layers
        )
    )
    assert explicit.value == pytest.approx(by_hand)


def test_a_margin_that_is_an_error_leaves_nothing_to_compress():
    # Taking its absolute value would hide a model that does not fit.
    result = measured()
    assert result.margin() < 0
    assert result.effective_parameters("explicit").value == inf
    statuses = {
        a.text: a.status for a in result.effective_parameters("explicit").assumptions
    }
    assert statuses["The margin is positive and can be attained."] == "failed"


def test_effective_parameters_need_every_quantity():
    with pytest.raises(ValueError, match="no minimal_interlayer_cushion"):
        example().effective_parameters()
