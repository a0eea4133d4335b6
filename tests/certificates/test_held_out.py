"""`certify` against scipy's beta and NumPy's count; what verify finds; refusals."""

import json

import keras
import numpy as np
import pytest
from scipy import stats

import tf_genbounds as gb
from tf_genbounds.certificates.fingerprints import RowDigests
from tf_genbounds.data.batches import batches

NUM = 240
LABELS = np.random.default_rng(0).integers(0, 3, NUM)


def outputs():
    """Scores of which a fifth are wrong, and one in thirty is a tie."""
    found = np.random.default_rng(1).normal(size=(NUM, 3)).astype("float32")
    own = np.arange(NUM)
    found[own, LABELS] = found.max(axis=1) + 1
    wrong = own % 5 == 0
    found[wrong, LABELS[wrong]] = np.where(own[wrong] % 2, -9, 0)
    ties = own % 30 == 1
    found[ties] = found[ties, :1]
    return found


@pytest.fixture(scope="module")
def model():
    """One that returns the scores that are its inputs."""
    found = keras.Sequential([keras.Input((3,)), keras.layers.Activation("linear")])
    return found


@pytest.fixture(scope="module")
def data():
    return outputs(), LABELS


@pytest.fixture(scope="module")
def certificate(model, data):
    return gb.certify(model, data)


def count_wrong(x, y):
    """Ties are wrong: the class must be larger than every other."""
    return sum(
        not all(row[label] > row[j] for j in range(3) if j != label)
        for row, label in zip(x, y, strict=True)
    )


def test_the_value_is_the_exact_tail_of_the_count(certificate, data):
    m, wrong = len(data[1]), count_wrong(*data)
    assert wrong > 48
    assert certificate.num_samples == m
    assert certificate.empirical == wrong / m
    expected = stats.beta.ppf(0.95, wrong + 1, m - wrong)
    assert certificate.value == pytest.approx(expected, rel=1e-11)


def test_models_that_were_compared_are_paid_for(model, data):
    found = gb.certify(model, data, num_models=20, delta=0.1)
    m, wrong = len(data[1]), count_wrong(*data)
    expected = stats.beta.ppf(1 - 0.1 / 20, wrong + 1, m - wrong)
    assert found.value == pytest.approx(expected, rel=1e-11)
    assert "chosen among 20 models" in found.statement()


def test_the_statement_says_what_it_is_and_is_not(certificate):
    text = str(certificate)
    m = certificate.num_samples
    assert text.startswith(
        f"With probability 0.95 over the draw of the {m} examples, the model is wrong "
        "on at most "
    )
    assert "a tie is wrong" in text
    assert "does not speak of examples from another source" in text
    assert "neither trained nor chosen with a look at these examples" in text
    assert certificate._repr_html_().startswith("<p>With probability")


def test_every_class_at_once(model, data):
    found = gb.certify(model, data, groups="class")
    x, y = data
    for label, part in enumerate(found.groups):
        own = y == label
        wrong, m = count_wrong(x[own], y[own]), own.sum()
        assert (part.name, part.num_samples) == (str(label), m)
        expected = stats.beta.ppf(1 - 0.05 / 3, wrong + 1, m - wrong)
        assert part.value == pytest.approx(expected, rel=1e-11)
    assert "for all 3 parts at once" in str(found)
    # The statement about all examples is not touched.
    assert found.value == gb.certify(model, data).value


def test_parts_by_array_and_by_function_are_the_same(model, data):
    parts = np.where(data[0][:, 0] > 0, "right", "left")
    by_array = gb.certify(model, data, groups=parts, batch_size=50)
    by_function = gb.certify(
        model,
        data,
        groups=lambda x: np.where(x[:, 0] > 0, "right", "left"),
        batch_size=70,
    )
    assert by_array.groups == by_function.groups
    assert [part.name for part in by_array.groups] == ["left", "right"]


def test_a_class_without_examples_is_reported_and_proves_nothing(model, data):
    x, y = data
    found = gb.certify(model, (x[y != 2], y[y != 2]), groups="class")
    assert found.groups[2].num_samples == 0
    assert found.groups[2].empirical is None
    assert found.groups[2].value == 1.0


def test_top_k_counts_what_is_not_among_the_first(model, data):
    x, y = data
    found = gb.certify(model, data, metric="top_k_error", k=2)
    wrong = sum(
        sum(row[j] >= row[label] for j in range(3) if j != label) >= 2
        for row, label in zip(x, y, strict=True)
    )
    assert 0 < wrong < count_wrong(x, y)
    assert found.empirical == wrong / len(y)


def test_a_loss_of_ones_own(model, data):
    def brier(y, prediction):
        return np.clip((prediction[:, 0] - (y == 0)) ** 2, 0, 1)

    found = gb.certify(model, data, metric=brier)
    losses = brier(data[1], data[0].astype("float64"))
    assert found.empirical == pytest.approx(losses.mean(), rel=1e-6)
    assert found.value == pytest.approx(
        gb.bounds.betting_inverse(losses, np.log(20)), rel=1e-5
    )
    assert "the mean of `brier` is at most" in str(found)
    again = gb.Certificate.from_json(found.to_json())
    with pytest.raises(ValueError, match="made with a `metric` of the user's"):
        again.verify(model, data)
    assert again.verify(model, data, metric=brier) is again


def test_whole_numbers_are_errors_and_get_the_exact_tail(model, data):
    def far(y, prediction):
        return (prediction[:, 0] > 2).astype(int)

    found = gb.certify(model, data, metric=far)
    assert "each loss is 0 or 1" in str(found.bound)


def test_json_and_a_copy_are_verified_in_any_order(model, data, certificate, tmp_path):
    certificate.to_json(tmp_path / "certificate.json")
    text = (tmp_path / "certificate.json").read_text()
    again = gb.Certificate.from_json(text)
    assert again == certificate
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    order = np.random.default_rng(2).permutation(len(data[1]))
    shuffled = data[0][order], data[1][order]
    assert again.verify(copy, shuffled, batch_size=64) is again
    assert len(again.fingerprints["data"]) == 64


def changed(certificate, name, value):
    fields = json.loads(certificate.to_json())
    if name in fields["bound"]:
        fields["bound"][name] = value
    else:
        fields["fingerprints"][name] = value
    return gb.Certificate.from_json(json.dumps(fields))


@pytest.mark.parametrize(
    "name, value, match",
    [
        ("value", 0.01, "the bound is"),
        ("empirical", 0.001, "the mean loss is"),
        ("weights", "0" * 64, "sha256 of the weights is"),
        ("data", "0" * 64, "sha256 of the data is"),
    ],
)
def test_verify_finds_what_was_changed(model, data, certificate, name, value, match):
    with pytest.raises(ValueError, match=match):
        changed(certificate, name, value).verify(model, data)


def test_verify_finds_other_data_and_other_weights(model, data, certificate):
    x, y = data
    with pytest.raises(ValueError, match="sha256 of the data") as error:
        certificate.verify(model, (x, np.roll(y, 1)))
    assert "the mean loss" in str(error.value)
    other = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(3, kernel_initializer="identity")]
    )
    with pytest.raises(ValueError, match="sha256 of the weights"):
        certificate.verify(other, data)


def test_nan_outputs_are_wrong():
    nan = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(2, bias_initializer="zeros")]
    )
    nan.set_weights([np.full((1, 2), np.nan), np.zeros(2)])
    x = np.arange(20.0)[:, None]
    assert gb.certify(nan, (x, np.zeros(20, int))).empirical == 1.0
    assert gb.certify(nan, (x, np.zeros(20, int))).vacuous


def test_few_repeats_are_warned_of(model, data):
    x, y = data
    with pytest.warns(UserWarning, match="1 of the 241 examples repeat others"):
        few = gb.certify(model, (np.r_[x, x[:1]], np.r_[y, y[:1]]))
    assert few.fingerprints["repeated"] == 1


def test_a_repeated_dataset_is_refused_but_for_discrete_draws(model, data):
    x, y = np.tile(data[0][:10], (5, 1)), np.tile(data[1][:10], 5)
    with pytest.raises(ValueError, match="40 of the 50 examples repeat others"):
        gb.certify(model, (x, y))
    assert gb.certify(model, (x, y), allow_repeats=True).num_samples == 50


@pytest.mark.parametrize(
    "options, match",
    [
        ({"num_models": 0}, "Received: num_models=0"),
        ({"delta": 1.0}, "Received: delta=1.0"),
        ({"metric": "loss"}, "`metric` must be one of"),
        ({"metric": "top_k_error"}, "which needs it"),
        ({"k": 2}, "`k` belongs to"),
        ({"metric": "top_k_error", "k": 3}, "smaller than the number of outputs"),
        ({"metric": lambda y, p: p}, r"of shape \(128,\)"),
        ({"metric": lambda y, p: p[:, 0] * 0 + 2.0}, "losses from 2"),
        ({"groups": "gender"}, '"class", an array or a function'),
        ({"groups": np.zeros(10)}, "for the 128 examples from 0"),
        ({"groups": np.zeros(1000)}, "1000 groups"),
        ({"threshold": 0.5}, "of several the largest decides"),
    ],
)
def test_refuses_by_name(model, data, options, match):
    with pytest.raises(ValueError, match=match):
        gb.certify(model, data, **options)


def test_labels_are_needed(model, data):
    with pytest.raises(ValueError, match="data without labels"):
        gb.certify(model, data[0])


def test_what_is_no_certificate_is_refused():
    for text in ("", "{}", '{"kind": "held_out"}', "[1]", '{"kind": "lottery"}'):
        with pytest.raises(ValueError, match="no certificate that `to_json` wrote"):
            gb.Certificate.from_json(text)


@pytest.mark.tensorflow
def test_digests_of_strings_and_zeros_do_not_depend_on_the_batches():
    words = np.array(["a", "bcd", "a", "e"], object)
    numbers = np.array([0.0, 1.0, -0.0, 2.0], "float32")
    found = set()
    for size in (1, 3, 4):
        rows = RowDigests()
        for batch in batches({"word": words, "number": numbers}, batch_size=size):
            rows.add(batch)
        assert (rows.count, rows.distinct) == (4, 3)
        found.add(rows.hexdigest())
    assert len(found) == 1
