"""The public names, all of them, so that Keras knows every class to load."""

from tf_genbounds import bounds
from tf_genbounds import callbacks
from tf_genbounds import compression
from tf_genbounds import data
from tf_genbounds import experiments
from tf_genbounds import functional
from tf_genbounds import layers
from tf_genbounds import losses
from tf_genbounds import metrics
from tf_genbounds import regularizers
from tf_genbounds import two_phase
from tf_genbounds.certificates import Certificate
from tf_genbounds.certificates import certify
from tf_genbounds.compression import compress
from tf_genbounds.measure import measure
from tf_genbounds.measurements import LayerMeasurements
from tf_genbounds.measurements import Measurements
from tf_genbounds.monitor import MonitoredModel
from tf_genbounds.report import Report
from tf_genbounds.report import report

__all__ = [
    "Certificate",
    "LayerMeasurements",
    "Measurements",
    "MonitoredModel",
    "Report",
    "bounds",
    "callbacks",
    "certify",
    "compress",
    "compression",
    "data",
    "experiments",
    "functional",
    "layers",
    "losses",
    "measure",
    "metrics",
    "regularizers",
    "report",
    "two_phase",
]
