"""The forms that a compressed layer may have, and copies of models in them."""
