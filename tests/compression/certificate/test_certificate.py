"""The certificate: worked numbers, monotonicity, and what it claims."""

import dataclasses
import functools
import math

import keras
import numpy as np
import pytest
from scipy import special
from scipy import stats
from simulation import most_failures

import tf_genbounds as gb
from tf_genbounds.bounds import Bound
from tf_genbounds.bounds import at_most
from tf_genbounds.bounds import klinv
from tf_genbounds.compression import Certificate
from tf_genbounds.compression.codes import weight_code
from tf_genbounds.compression.codes.arithmetic_coder import Decoder
from tf_genbounds.compression.codes.arithmetic_coder import Encoder


def certificate(**fields):
    options = {
        "train_error": 0.02,
        "bits": 4000,
        "num_samples": 60000,
        "delta": 0.05,
        "items": {"weights": 3999.0},
        "fixed": ("the architecture",),
    }
    return Certificate(**(options | fields))


@functools.cache
def value(bits, num_samples, delta, error):
    """What a certificate promises; a simulation asks for the same again and again."""
    fields = {"bits": bits, "num_samples": num_samples, "delta": delta}
    return certificate(train_error=error, **fields).value


@pytest.mark.parametrize(
    "bits, num_samples, error, hoeffding, kl",
    [
        (1000 * 4, 60000, 0.02, 0.17208508, 0.09430823),
        (100 * 32, 50000, 0.1, 0.24903244, 0.21193426),
    ],
)
def test_reference_values(bits, num_samples, error, hoeffding, kl):
    found = certificate(bits=bits, num_samples=num_samples, train_error=error)
    assert found.in_form("hoeffding").value == pytest.approx(hoeffding, abs=1e-8)
    assert found.in_form("kl").value == pytest.approx(kl, abs=1e-8)
    # The exact tail, by its definition: at the root, as far as floats can say.
    counts = np.arange(round(error * num_samples) + 1)
    tail = special.logsumexp(stats.binom.logpmf(counts, num_samples, found.value))
    assert tail == pytest.approx(-bits * math.log(2) - math.log(20), rel=1e-6)
    assert found.value < kl


def test_slack_of_a_sparse_linear_classifier():
    found = certificate(bits=674.80911, num_samples=10000, train_error=0.0)
    assert found.in_form("hoeffding").value == pytest.approx(0.15341737, abs=1e-8)
    slack = certificate(bits=8000, train_error=0.0).in_form("hoeffding").value
    assert slack == pytest.approx(0.21502273, abs=1e-8)


def test_formula_and_monotonicity():
    found = certificate()
    rate = (4000 * math.log(2) + math.log(20)) / 60000
    assert found.in_form("kl").value == pytest.approx(klinv(0.02, rate))
    assert found.train_error < found.value <= found.in_form("kl").value
    assert certificate(bits=4100).value > found.value
    assert certificate(num_samples=50000).value > found.value
    assert certificate(delta=0.01).value > found.value
    assert certificate(train_error=0.03).value > found.value
    assert certificate(bits=10**8).vacuous and not found.vacuous


def test_it_says_what_it_is_of():
    text = str(certificate())
    assert "the 0-1 risk of the compressed model (its class is that of the " in text
    assert (
        f"largest output, and a tie is wrong) is at most {at_most(certificate().value)}"
        in text
    )
    assert "the architecture did not depend on the sample" in text
    bound = certificate().bound
    assert isinstance(bound, Bound) and not bound.failed
    assert Bound.from_json(bound.to_json()) == bound
    assert dataclasses.asdict(certificate())["bits"] == 4000


def test_an_assumption_that_is_known_to_fail_comes_first():
    found = certificate().declaring("the list was there before", "failed")
    assert found.value == certificate().value and found.bound.failed
    start = (
        "NOT A GUARANTEE, since it fails that the list was there before: Certificate"
    )
    assert str(found).startswith(start)
    # The others stay, and so does what was declared before.
    assert found.assumptions[:-1] == certificate().assumptions
    again = found.declaring("the seed was 0")
    assert [a.status for a in again.assumptions[-2:]] == ["failed", "unchecked"]


def test_violations_of_a_known_risk():
    """All classifiers of a class with known risks, coded with unequal lengths.

    The best certificate over all code words may exceed `delta` nowhere.
    """
    delta, num_samples, runs = 0.1, 200, 400
    risks = np.linspace(0.3, 0.5, 64)
    # A prefix code: word i has 2 floor(log2(i + 1)) + 1 bits.
    bits = 2 * np.floor(np.log2(np.arange(1, 65))) + 1
    assert np.sum(2.0**-bits) <= 1
    generator = np.random.default_rng(0)
    violations = {True: 0, False: 0}
    for _ in range(runs):
        errors = generator.binomial(num_samples, risks) / num_samples
        for paid in violations:
            values = [
                value(int(b) * paid, num_samples, delta, float(e))
                for b, e in zip(bits, errors, strict=True)
            ]
            violations[paid] += bool(np.any(risks > values))
    assert violations[True] <= most_failures(runs, delta)
    # Without paying for the choice, it fails often: the test can fail.
    assert violations[False] / runs > 2 * delta


def test_violations_of_coded_linear_classifiers():
    """From the sample to the code and back, with a known population error.

    Each draw fits a linear classifier, rounds it in many ways, writes and reads
    each code, and keeps the best certificate: choosing is free.
    """
    delta, num_samples, dimension, runs = 0.1, 300, 10, 250
    generator = np.random.default_rng(0)
    truth = generator.normal(size=dimension)
    truth /= np.linalg.norm(truth)
    violations = {True: 0, False: 0}
    for _ in range(runs):
        x = generator.normal(size=(num_samples, dimension))
        flips = generator.random(num_samples) < 0.2
        y = np.where(flips, -1, 1) * np.sign(x @ truth)
        fitted = np.linalg.lstsq(x, y, rcond=None)[0]
        found = []
        for end in (1, 2, 3, 7):
            for fraction in np.linspace(0.3, 1.0, 15):
                step = fraction * np.max(np.abs(fitted)) / end
                encoder = Encoder()
                weight_code.write(encoder, weight_code.levels(fitted, end, step))
                code = encoder.finish()
                weights = weight_code.read(Decoder(code), (dimension,)).values()
                error = np.mean(~(y * (x @ weights) > 0))
                norm = np.linalg.norm(weights)
                cosine = weights @ truth / norm if norm else 0.0
                risk = 0.2 + 0.6 * np.arccos(np.clip(cosine, -1, 1)) / np.pi
                if not norm:
                    risk = 1.0  # A tie is an error.
                found.append((len(code), float(error), risk))
        for paid in violations:
            least, risk = min(
                (value(bits * paid, num_samples, delta, error), risk)
                for bits, error, risk in found
            )
            violations[paid] += risk > least
    assert violations[True] <= most_failures(runs, delta)
    # The bits are what it takes: unpaid, the choice breaks the promise.
    assert violations[False] > violations[True]


def test_json_of_any_certificate():
    found = certificate(train_error=0.03, fingerprints={"weights": "a"}).declaring("x")
    again = gb.Certificate.from_json(found.to_json())
    assert again == found and isinstance(found, gb.Certificate)
    with pytest.raises(ValueError, match="no certificate"):
        gb.Certificate.from_json(found.to_json().replace('"bits"', '"bytes"'))


def test_verify_recomputes_all():
    keras.utils.set_random_seed(1)
    x = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    made = gb.compress(model, (x, y), num_levels=3)
    found = made.certificate
    order = np.random.default_rng(1).permutation(60)
    assert found.verify(made.model, (x[order], y[order])) is found
    with pytest.raises(ValueError, match="sha256 of the weights is"):
        found.verify(model, (x, y))
    with pytest.raises(ValueError, match="the train error is .*sha256 of the data"):
        found.verify(made.model, (x, 1 - y))
