"""How a Keras model is read and tapped."""

from tf_genbounds.network.network import Network

__all__ = ["Network"]
