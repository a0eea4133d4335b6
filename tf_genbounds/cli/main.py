"""The command line: `tf-genbounds demo`, `report`, `measure`, `compress`, ...

What it takes is in `parser`, the commands themselves are in `commands`.
"""

import contextlib
import os
import sys

from tf_genbounds.cli.parser import make_parser


def main(argv=None) -> int:
    """Runs a command; bad input gives one line and the status 2.

    Args:
        argv: List of arguments. Defaults to those of the process.

    Returns:
        The exit status.
    """
    arguments = make_parser().parse_args(argv)
    try:
        with _quiet_import():
            # On JAX too, where Keras imports it to set the seed.
            import tensorflow  # noqa: F401

            import tf_genbounds.report.report  # noqa: F401
        arguments.run(arguments)
    except (ImportError, OSError, TypeError, ValueError) as error:
        message = " ".join(str(error).split())
        print(f"tf-genbounds {arguments.command}: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


@contextlib.contextmanager
def _quiet_import():
    """Keeps what TensorFlow says when it is imported off the screen.

    Some of it comes before TensorFlow reads `TF_CPP_MIN_LOG_LEVEL`. Whoever
    sets the variable sees everything.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    screen = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(screen, 2)
        os.close(nothing)
        os.close(screen)
