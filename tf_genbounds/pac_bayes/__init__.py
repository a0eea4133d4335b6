"""Networks that draw their weights, certified by PAC-Bayes bounds."""

from tf_genbounds.pac_bayes.bounded_crossentropy import BoundedCrossentropy
from tf_genbounds.pac_bayes.certificate import PACBayesCertificate
from tf_genbounds.pac_bayes.draw_certificate import DrawCertificate
from tf_genbounds.pac_bayes.randomized_model import RandomizedModel
from tf_genbounds.pac_bayes.training import PACBayes

__all__ = [
    "BoundedCrossentropy",
    "DrawCertificate",
    "PACBayes",
    "PACBayesCertificate",
    "RandomizedModel",
]
