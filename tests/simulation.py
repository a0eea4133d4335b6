"""Whether a failure rate seen in a simulation refutes a claimed one."""

from scipy import stats


def most_failures(num_draws, delta, confidence=0.999):
    """The largest count that `num_draws` trials of rate `delta` plausibly give."""
    return stats.binom.ppf(confidence, num_draws, delta)
