"""True sentences about a model that a user has."""

from tf_genbounds.certificates.certificate import Certificate
from tf_genbounds.certificates.held_out import HeldOutCertificate
from tf_genbounds.certificates.held_out import certify

__all__ = ["Certificate", "HeldOutCertificate", "certify"]
