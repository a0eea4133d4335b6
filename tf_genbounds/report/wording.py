"""What each number of a report is, in words for its reader."""

import dataclasses

STATEMENT = (
    "These are measurements of this model on this sample, not guarantees: no "
    "number here bounds the error on data that was not measured."
)
STATEMENT_WITH_BOUNDS = (
    "Only what stands under Guarantees bounds the error on data that was not "
    "measured. Everything else is a measurement of this model on this sample."
)


@dataclasses.dataclass(frozen=True)
class Quantity:
    """How a field of `LayerMeasurements` is shown.

    Attributes:
        field: Its name.
        term: Its name for the reader, with the matrix or extreme it is of.
        meaning: A sentence, with what a good value is.
        unconverged: What to put before the value if the power iteration, which
            finds a spectral norm from below, stopped early.
    """

    field: str
    term: str
    meaning: str
    unconverged: str = ""


QUANTITIES = (
    Quantity(
        "spectral_norm",
        "Spectral norm (operator)",
        "The most by which the layer can stretch a difference between two "
        "inputs, on inputs of its own size. Smaller is more stable. Found from "
        "below, it may be some 0.1 % too small.",
        ">=",
    ),
    Quantity(
        "frobenius_norm",
        "Frobenius norm (kernel)",
        "The root of the sum of all squared weights. Smaller is simpler.",
    ),
    Quantity(
        "stable_rank",
        "Stable rank (kernel)",
        "||A||_F^2 / ||A||_2^2 of the kernel reshaped to a matrix, between 1 "
        "and its rank: in how many directions the weights really act. Far "
        "below the rank is good: the layer can be compressed.",
        "<=",
    ),
    Quantity(
        "layer_cushion",
        "Layer cushion (minimum)",
        "The smallest ||A v|| / (||A||_F ||v||) over the samples, for the "
        "kernel A and the layer's input v. Larger is better: Gaussian noise in "
        "the input leaves a relative noise in the output that is proportional "
        "to 1 / cushion. For a dense layer it is at most 1 / sqrt(stable "
        "rank); for a convolution, which uses each weight many times, it can "
        "exceed 1.",
    ),
    Quantity(
        "activation_contraction",
        "Contraction (maximum)",
        "The largest ||x|| / ||phi(x)|| over the samples, for the activation "
        "phi before the layer. Near 1 is good, 1.4 is usual for ReLU; inf "
        "says that some sample switches every unit off.",
    ),
)

INTERLAYER = (
    Quantity(
        "unclipped_interlayer_cushion",
        "Interlayer cushion (least, later layers)",
        "The smallest sqrt(pixels) ||J x|| / (||J||_F ||x||) over the samples and "
        "the later layers, for the layer's output x before its activation and "
        "the Jacobian J from there to the later layer. Larger is better: what "
        "the layer says arrives, and noise does not. Where the notes say that "
        "norms of J were estimated, it may be some percent too large.",
    ),
    Quantity(
        "minimal_interlayer_cushion",
        "Interlayer cushion (minimal)",
        "The same, but at most 1 / sqrt(channels), the value of the layer "
        "itself. In most layers of most networks it is this.",
    ),
    Quantity(
        "jacobian_spread",
        "Spread of the Jacobian (maximum)",
        "How unevenly the later layers read the pixels: 1 if all count alike, "
        "sqrt(pixels) if a single one counts. Smaller is better.",
    ),
    Quantity(
        "interlayer_smoothness",
        "Interlayer smoothness (minimum)",
        "How close the later layers are to their linearization, when the "
        "weights before are replaced by random projections. Larger is better; "
        "the theorem asks for three times the depth.",
    ),
)

EFFECTIVE = (
    (
        "Effective parameters",
        "(c beta / (mu_i mu_i->))^2 times the overlap of the patches, by the "
        "layer cushion mu_i, the minimal interlayer cushion mu_i->, the "
        "contraction c and the spread beta. A complexity, not a bound: it "
        "leaves out constants and logarithms, and comes from the sample.",
    ),
    (
        "Percent",
        "Of the parameters of the layer. Over 100: the theorem finds nothing "
        "to compress.",
    ),
)

ATTENUATION = (
    (
        "Noise at",
        "Gaussian noise is added to the input of this layer. The numbers are "
        "the mean relative errors that it makes of the outputs, before their "
        "activation, of this layer and of the last. Smaller is better.",
    ),
)

GUARANTEE = (
    (
        "At most",
        "With the given probability over the draw of the sample, and under the "
        "assumptions in the notes: what was seen on the sample plus the slack, "
        "with every constant.",
    ),
    (
        "Verdict",
        "A bound is vacuous if it says no more than what is true of any model.",
    ),
)

MARGIN = (
    "Margin",
    "The logit of the true class minus the largest other one; at most 0 is an "
    "error. Larger is better, but only next to the norms: doubling the last "
    "layer doubles every margin.",
)
ERROR = (
    "Error",
    "The fraction of the samples with a margin of at most 0: ties count.",
)
