"""Layers: DARC as a part of the model, and the gates of a frozen pattern.

The gates are exported for their registration: a model with a frozen pattern loads
without `custom_objects`.
"""

from tf_genbounds.layers.darc import DARC1Regularization
from tf_genbounds.layers.darc import DARCRegularization
from tf_genbounds.layers.gates import FixedStatisticsBatchNormalization
from tf_genbounds.layers.gates import Gate
from tf_genbounds.layers.gates import GlobalMaxPoolingGate
from tf_genbounds.layers.gates import MaxPoolingGate
from tf_genbounds.layers.gates import PReLUGate

__all__ = [
    "DARC1Regularization",
    "DARCRegularization",
    "FixedStatisticsBatchNormalization",
    "Gate",
    "GlobalMaxPoolingGate",
    "MaxPoolingGate",
    "PReLUGate",
]
