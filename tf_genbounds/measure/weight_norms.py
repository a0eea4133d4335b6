"""Norms of the weights of a network, each time from where they were before."""

from keras import ops

from tf_genbounds import backend
from tf_genbounds.functional.operators import LinearOperator
from tf_genbounds.functional.spectral import frobenius_norm
from tf_genbounds.functional.spectral import spectral_norm
from tf_genbounds.functional.unit_norms import unit_norms
from tf_genbounds.measure.quantities import OF_WEIGHTS


class WeightNorms:
    """Computes the norms of each linear map's kernel and operator.

    Args:
        maps: `LinearMap` by name.
        quantities: Set of names, of those of weights or not.
        seed: Integer, for the start of the power iterations.
    """

    def __init__(self, maps, quantities, seed):
        self._maps = maps
        self._wanted = quantities.intersection(OF_WEIGHTS)
        self._seed = seed
        self._vectors = {}  # Where the power iterations stand.

    def __call__(self, variables, values, initial=None):
        """Returns fields of `LayerMeasurements` by name.

        Args:
            variables: The variables of the model.
            values: Their values.
            initial: Their initial values, or `None`.
        """
        fields = {name: {} for name in self._maps}
        with backend.stateless(variables, values):
            operators = {n: linear.operator() for n, linear in self._maps.items()}
        for name, operator in operators.items():
            if self._wanted:
                fields[name] = self._norms(name, operator)
        if initial is None:
            return fields
        with backend.stateless(variables, initial):
            origins = {n: linear.operator() for n, linear in self._maps.items()}
        for name, operator in operators.items():
            change = LinearOperator(
                operator.structure, operator.kernel - origins[name].kernel
            )
            fields[name]["distance_from_init"] = float(frobenius_norm(change, "kernel"))
            fields[name].setdefault(
                "frobenius_norm", float(frobenius_norm(operator, "kernel"))
            )
            if "unit_norms" in self._wanted:
                fields[name]["l21_distance_from_init"] = _l21_norm(change)
        return fields

    def _norms(self, name, operator):
        """Names the norms of both matrices as `LayerMeasurements` does."""
        kernel, full = (
            self._matrix_norms(name, operator, matrix)
            for matrix in ("kernel", "operator")
        )
        fields = {}
        if "unit_norms" in self._wanted:
            fields["l1_inf_norm"] = float(ops.max(unit_norms(operator, order=1)))
            fields["l21_norm"] = _l21_norm(operator)
        if "frobenius_norm" in self._wanted:
            fields["frobenius_norm"] = kernel["frobenius_norm"]
            fields["operator_frobenius_norm"] = full["frobenius_norm"]
        if "spectral_norm" in self._wanted:
            fields["spectral_norm"] = full["spectral_norm"]
            fields["kernel_spectral_norm"] = kernel["spectral_norm"]
        if "stable_rank" in self._wanted:
            fields["stable_rank"] = _stable_rank(kernel)
            fields["operator_stable_rank"] = _stable_rank(full)
        if "converged" in kernel:
            fields["converged"] = kernel["converged"] and full["converged"]
        return fields

    def _matrix_norms(self, name, operator, matrix):
        norms = {"frobenius_norm": float(frobenius_norm(operator, matrix))}
        if self._wanted & {"spectral_norm", "stable_rank"}:
            estimate = spectral_norm(
                operator,
                matrix,
                start=self._vectors.get((name, matrix)),
                seed=self._seed,
            )
            self._vectors[name, matrix] = estimate.vectors
            norms["spectral_norm"] = float(estimate.value)
            norms["converged"] = bool(estimate.converged)
        return norms


def _l21_norm(operator):
    return float(ops.sum(unit_norms(operator, order=2)))


def _stable_rank(norms):
    if norms["spectral_norm"] == 0:
        return 0.0
    return (norms["frobenius_norm"] / norms["spectral_norm"]) ** 2
