"""Layers: DARC as a part of the model, and the gates of a frozen pattern."""

# For its registration: a model with a frozen pattern loads without custom_objects.
from tf_genbounds.layers import gates  # noqa: F401
from tf_genbounds.layers.darc import DARC1Regularization
from tf_genbounds.layers.darc import DARCRegularization

__all__ = ["DARC1Regularization", "DARCRegularization"]
