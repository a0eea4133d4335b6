"""The compressed model in a report, beside the original."""

import keras
import numpy as np
import pytest

from tf_genbounds import compress
from tf_genbounds.report import Report
from tf_genbounds.report import report
from tf_genbounds.report.compression import compression_table


@pytest.fixture(scope="module")
def case():
    x = np.random.default_rng(0).normal(size=(300, 2))
    data = x, (x[:, 1] > x[:, 0]).astype(int)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)], name="net")
    model.layers[0].set_weights([np.eye(2), np.zeros(2)])
    return model, data, compress(model, data)


def test_before_and_after(case, tmp_path):
    model, data, compressed = case
    other = data[0][:50], 1 - data[1][:50]  # All wrong.
    made = report(
        model, data, other, compressed=compressed, interlayer_samples=0, verbose=0
    )
    found = made.compression
    assert found.numbers == (6, 6)
    assert found.bits == (192, compressed.certificate.bits)
    assert found.train_error == (0.0, compressed.certificate.train_error)
    assert found.validation_error == (1.0, 1.0)
    assert made.bounds == {"the compressed model": compressed.certificate.bound}
    rows = {row[0]: row[1:] for row in compression_table(made).rows}
    assert rows["Bits"] == ("192", str(compressed.certificate.bits))
    assert rows["Validation error"] == ("100.00 %", "100.00 %")
    again = Report.from_json(made.to_json())
    assert again.compression == found and again.to_json() == made.to_json()
    for output in (made.to_text(width=150), made.to_markdown()):
        assert "Compression" in output and "the compressed model" in output
    made.to_html(tmp_path / "report.html")
    assert "decoded from the code" in (tmp_path / "report.html").read_text()


def test_without_other_data_or_without_compression(case):
    model, data, compressed = case
    options = {"interlayer_samples": 0, "verbose": 0}
    made = report(model, data, compressed=compressed, **options)
    assert [row[0] for row in compression_table(made).rows] == [
        "Numbers",
        "Bits",
        "Train error",
    ]
    assert Report.from_json(made.to_json()).compression == made.compression
    assert not compression_table(report(model, data, **options)).rows
    with pytest.raises(TypeError, match="Received: compressed=Sequential"):
        report(model, data, compressed=compressed.model, **options)
