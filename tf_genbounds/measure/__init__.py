"""The quantities of a model on data."""

from tf_genbounds.measure.layer_measurements import LayerMeasurements
from tf_genbounds.measure.measure import measure
from tf_genbounds.measure.measurements import Measurements

__all__ = ["LayerMeasurements", "Measurements", "measure"]
