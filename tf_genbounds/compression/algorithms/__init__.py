"""How matrices and weights become shorter, with what is lost: algorithms 1 to 4."""
