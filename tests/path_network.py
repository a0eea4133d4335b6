"""A ReLU network of 3, 4, 3 and 2 units, with its 36 paths listed."""

import numpy as np


class PathNetwork:
    def __init__(self, seed):
        generator = np.random.default_rng(seed)
        self.kernels = [
            generator.normal(size=shape) for shape in ((3, 4), (4, 3), (3, 2))
        ]

    def __call__(self, x):
        hidden = np.maximum(x @ self.kernels[0], 0)
        return np.maximum(hidden @ self.kernels[1], 0) @ self.kernels[2]

    def features(self, x):
        first = x @ self.kernels[0]
        second = np.maximum(first, 0) @ self.kernels[1]
        paths = np.einsum("ni,na,nb->niab", x, first > 0, second > 0)
        return paths.reshape(len(x), -1)

    def weights(self):
        return np.einsum("ia,ab,bk->iabk", *self.kernels).reshape(-1, 2)


def sample(seed, count):
    """Inputs, and one-hot labels that depend on them."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, 3))
    labels = (x[:, 0] + generator.normal(size=count) > 0).astype(int)
    return x, np.eye(2)[labels]
