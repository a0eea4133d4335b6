"""`report` measures, and `Report` keeps and writes what was measured."""

import json
import os

import keras
import models
import numpy as np
import pytest

from tf_genbounds.experiments import noise_attenuation
from tf_genbounds.measure import measure
from tf_genbounds.measure.measurements import Measurements
from tf_genbounds.measure.quantities import OF_SAMPLES
from tf_genbounds.measure.quantities import OF_WEIGHTS
from tf_genbounds.report import Report
from tf_genbounds.report import report


def test_report_holds_what_measure_returns():
    model, data, other = models.convolutional(), models.images(), models.images(8, 1)
    result = report(model, data, other, num_samples=6, seed=3)
    train = measure(
        model,
        data,
        quantities=[*OF_WEIGHTS, *OF_SAMPLES],
        num_samples=6,
        seed=3,
    )
    assert result.train.to_json() == train.to_json()
    stability = measure(model, data, num_samples=6, seed=3)
    assert result.stability.num_samples == 6
    for field in ("minimal_interlayer_cushion", "effective_parameters"):
        for name, layer in stability.layers.items():
            assert getattr(result.stability.layers[name], field) == (
                pytest.approx(getattr(layer, field), rel=1e-4)
            )
    attenuation = noise_attenuation(model, data, num_samples=6, seed=3)
    assert result.attenuation.to_json() == attenuation.to_json()
    validation = measure(model, other, num_samples=6, quantities=["margins"])
    np.testing.assert_array_equal(result.validation.margins, validation.margins)
    assert result.model == {
        "name": model.name,
        "class": "Sequential",
        "num_parameters": model.count_params(),
    }
    assert result.title == model.name


def test_what_is_between_the_layers_can_be_left_out():
    model, data = models.dense(), models.data(models.dense())
    result = report(model, data, interlayer_samples=0)
    assert result.stability is None and result.attenuation is None
    assert "Between the layers" not in result.to_text()
    few = report(model, data, interlayer_samples=3, num_probes=1)
    assert few.stability.num_samples == 3
    assert few.train.num_samples == 20


def test_report_takes_data_without_labels():
    x, _ = models.images(6)
    result = report(models.convolutional(), x)
    assert result.train.margins is None
    assert "Margins" not in result.to_text()


def test_report_keeps_the_history_of_fit():
    model = models.dense()
    x, y = np.random.rand(8, 6), np.arange(8) % 3
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(x, y, epochs=2, validation_data=(x, y), verbose=0)
    result = report(model, (x, y), history=history)
    assert result.history == history.history
    assert all(isinstance(v, float) for v in result.history["val_loss"])
    assert report(model, (x, y), history=history.history).history == result.history


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"history": [1.0]}, "Received: history=list"),
        ({"baseline": {"title": "old"}}, "Received: baseline=dict"),
    ],
)
def test_wrong_kinds_are_refused(arguments, message):
    with pytest.raises(TypeError, match=message):
        report(models.dense(), np.ones((2, 6)), **arguments)


def test_wrong_validation_data_is_refused_before_measuring(monkeypatch):
    model, x, labels = models.dense(), np.ones((2, 6)), np.array([0, 1])
    calls = []
    monkeypatch.setitem(
        report.__globals__,
        "measure",
        lambda *args, **options: calls.append(options) or measure(*args, **options),
    )
    with pytest.raises(ValueError, match="shape"):
        report(model, (x, labels), (np.ones((2, 7)), labels))
    assert len(calls) == 1


@pytest.mark.parametrize("kind", ["single", "compared", "bare"])
def test_json_round_trip(kind, request):
    before = request.getfixturevalue(kind)
    text = before.to_json()
    after = Report.from_json(text)
    assert after.to_json() == text
    assert after.to_text(90) == before.to_text(90)
    assert isinstance(after.train, Measurements)
    np.testing.assert_array_equal(
        [m for m in after.train.distributions.values()],
        [m for m in before.train.distributions.values()],
    )


def test_json_of_a_measured_report_round_trips():
    before = report(models.convolutional(), models.images(), models.images(5, 1))
    assert Report.from_json(before.to_json()).to_json() == before.to_json()


def test_json_is_strict(single):
    def refuse(constant):
        raise AssertionError(constant)

    fields = json.loads(single.to_json(), parse_constant=refuse)
    assert fields["train"]["layers"]["logits"]["activation_contraction"] == "inf"
    assert fields["history"]["val_loss"][-1] == "nan"


def test_a_report_is_deterministic(tmp_path):
    model, written = models.convolutional(), []
    for name in ("a", "b"):
        result = report(model, models.images())
        result.to_html(tmp_path / name)
        written.append((tmp_path / name).read_text() + result.to_json())
    assert written[0] == written[1]


def test_to_json_and_to_html_write_whole_files(single, tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old")
    assert single.to_json(path) == path.read_text(encoding="utf-8")
    single.to_html(tmp_path / "report.html")
    assert sorted(os.listdir(tmp_path)) == ["report.html", "report.json"]


@pytest.mark.parametrize("method", ["to_json", "to_html"])
def test_a_path_that_cannot_be_written_is_refused(method, single, tmp_path):
    for path in (tmp_path / "missing" / "file", tmp_path):
        with pytest.raises(OSError, match="Received: path=") as raised:
            getattr(single, method)(path)
        assert len(str(raised.value).splitlines()) == 1
    assert os.listdir(tmp_path) == []


def test_unknown_plot_names_the_nearest(single):
    with pytest.raises(ValueError, match="Did you mean 'layer_cushion'"):
        single.plot("layer_cushions")


@pytest.mark.parametrize("name", ["training_curves", "margins", "layer_cushion"])
def test_a_plot_without_data_is_refused(name, bare):
    with pytest.raises(ValueError, match=f"history.*Received: name='{name}'"):
        bare.plot(name)
