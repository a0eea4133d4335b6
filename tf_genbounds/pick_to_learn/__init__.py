"""Training on few picked examples, certified by all others: Pick-to-Learn."""

from tf_genbounds.pick_to_learn.certificate import PickToLearnCertificate
from tf_genbounds.pick_to_learn.training import PickToLearn

__all__ = ["PickToLearn", "PickToLearnCertificate"]
