"""The command line: `tf-genbounds demo`, `report`, `measure`, `experiment`.

TensorFlow is imported inside the commands, so that `--help` is quick.
"""

import argparse
import contextlib
import os
import re
import sys

from tf_genbounds._version import __version__

_DEMO_EXAMPLE = "example: tf-genbounds demo --out demo --epochs 5"
_REPORT_EXAMPLE = (
    "example: tf-genbounds report model.keras --data mnist --out mnist-report"
)
_MEASURE_EXAMPLE = (
    "example: tf-genbounds measure model.keras --data mnist --num-samples 32"
)
_EXPERIMENT_EXAMPLE = (
    "example: tf-genbounds experiment noise_attenuation model.keras "
    "--data mnist --out noise"
)


def main(argv=None) -> int:
    """Runs a command; bad input gives one line and the status 2.

    Args:
        argv: List of arguments. Defaults to those of the process.

    Returns:
        The exit status.
    """
    arguments = _parser().parse_args(argv)
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


def _parser():
    parser = _Parser(
        prog="tf-genbounds",
        description="Measures how well a Keras network can generalize.",
        epilog=_DEMO_EXAMPLE,
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {__version__}"
    )
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True
    )
    demo = commands.add_parser(
        "demo",
        help="train on digits with DARC1 and without, and compare",
        description="Trains a small network on scikit-learn's digits with "
        "DARC1 and without, and writes a report and the two models.",
        epilog=_DEMO_EXAMPLE,
    )
    demo.add_argument(
        "--out",
        metavar="DIR",
        default="tf-genbounds-demo",
        help="folder for the files (default: %(default)s)",
    )
    demo.add_argument(
        "--epochs", metavar="N", type=int, default=15, help="default: %(default)s"
    )
    demo.set_defaults(run=_demo)

    report = commands.add_parser(
        "report",
        help="report on a saved model",
        description="Measures a saved model on a data set and writes "
        "report.html, report.md and report.json.",
        epilog=_REPORT_EXAMPLE,
    )
    _add_model(report)
    report.add_argument(
        "--out", metavar="DIR", required=True, help="folder for the files"
    )
    report.add_argument(
        "--split-train",
        metavar="SPLIT",
        default="train",
        help="what the model was trained on (default: %(default)s)",
    )
    report.add_argument(
        "--split-validation",
        metavar="SPLIT",
        default="test",
        help="other data, or none (default: %(default)s)",
    )
    report.add_argument(
        "--num-samples",
        metavar="N",
        type=int,
        help="measure the first N samples of each split (default: all)",
    )
    report.add_argument(
        "--interlayer-samples",
        metavar="N",
        type=int,
        default=64,
        help="measure what is between the layers, many passes through the "
        "network, on the first N (default: %(default)s; 0: leave it out)",
    )
    report.set_defaults(run=_report)

    measure = commands.add_parser(
        "measure",
        help="measure a saved model",
        description="Measures a saved model on a data set and prints the "
        "numbers of its layers.",
        epilog=_MEASURE_EXAMPLE,
    )
    _add_model(measure)
    measure.add_argument(
        "--out", metavar="FILE", help="write all numbers to this file, as JSON"
    )
    measure.set_defaults(run=_measure)

    experiment = commands.add_parser(
        "experiment",
        help="run a study of the papers on a saved model",
        description="Runs noise_attenuation (figure 1 of the compression "
        "paper) or noise_stability (figure 2) on a saved model and writes "
        "its numbers and its plot.",
        epilog=_EXPERIMENT_EXAMPLE,
    )
    experiment.add_argument(
        "name", metavar="NAME", help="noise_attenuation or noise_stability"
    )
    _add_model(experiment)
    experiment.add_argument(
        "--out", metavar="DIR", required=True, help="folder for the files"
    )
    experiment.set_defaults(run=_experiment)

    for command in (measure, experiment):
        command.add_argument(
            "--split",
            metavar="SPLIT",
            default="train",
            help="what the model was trained on (default: %(default)s)",
        )
        command.add_argument(
            "--num-samples",
            metavar="N",
            type=int,
            default=64,
            help="take the first N samples (default: %(default)s)",
        )
    measure.add_argument(
        "--quantities",
        metavar="NAME",
        nargs="+",
        help="such as layer_cushion interlayer_cushion (default: all)",
    )
    for command in (demo, measure, experiment):
        command.add_argument(
            "--seed", metavar="N", type=int, default=0, help="default: %(default)s"
        )
    for command in (demo, report, measure, experiment):
        command.add_argument(
            "--json", action="store_true", help="print the result as JSON"
        )
    return parser


def _add_model(command):
    command.add_argument("model", metavar="MODEL.keras", help="the saved model")
    command.add_argument(
        "--data",
        metavar="NAME",
        required=True,
        help="digits, or a labelled image set of TensorFlow Datasets",
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        # Without the usage, which takes several lines.
        self.exit(2, f"{self.prog}: {message}\n")


def _demo(arguments):
    from rich.console import Console

    from tf_genbounds import demo
    from tf_genbounds.report.text import rich_table
    from tf_genbounds.report.writing import output_folder

    with output_folder(arguments.out) as folder:
        result = demo.run(
            epochs=arguments.epochs,
            seed=arguments.seed,
            console=Console(stderr=True),
        )
        for name, model in result.models.items():
            model.save(folder / name)
        _write(result.report, folder)
        names = sorted(file.name for file in folder.iterdir())
    if arguments.json:
        print(result.report.to_json())
        return
    Console().print(rich_table(demo.summary(result)))
    print(demo.conclusion(result))
    print(f"\nWritten to {arguments.out}: {', '.join(names)}")


def _report(arguments):
    from tf_genbounds.data import load
    from tf_genbounds.report.report import report
    from tf_genbounds.report.writing import output_folder

    model = _load_model(arguments.model)
    train = load(arguments.data, arguments.split_train)
    validation = None
    if arguments.split_validation != "none":
        validation = load(arguments.data, arguments.split_validation)
    with output_folder(arguments.out) as folder:
        result = report(
            model,
            train,
            validation,
            num_samples=arguments.num_samples,
            interlayer_samples=arguments.interlayer_samples,
        )
        _write(result, folder)
    print(result.to_json() if arguments.json else result.to_text())


def _measure(arguments):
    from rich.console import Console

    from tf_genbounds.data import load
    from tf_genbounds.measure import measure
    from tf_genbounds.report.between import effective_parameters
    from tf_genbounds.report.quantities import INTERLAYER, QUANTITIES
    from tf_genbounds.report.table import layers_table
    from tf_genbounds.report.text import rich_table

    model = _load_model(arguments.model)
    result = measure(
        model,
        load(arguments.data, arguments.split),
        quantities=arguments.quantities,
        num_samples=arguments.num_samples,
        seed=arguments.seed,
        verbose=0,
    )
    if arguments.out:
        result.to_json(arguments.out)
    if arguments.json:
        print(result.to_json())
        return
    parts = [(model.name, result)]
    console = Console(highlight=False)
    console.print(f"{model.name}, {result.num_samples} samples of {arguments.data}")
    for table in (
        layers_table("Layers", parts, QUANTITIES),
        layers_table("Between the layers", parts, INTERLAYER),
        effective_parameters("Effective parameters (not a bound)", parts),
    ):
        if table.rows and len(table.headings) > 2:
            console.print(f"\n{table.title}")
            console.print(rich_table(table))
    for name, reason in result.unsupported.items():
        console.print(f"Not measured: {name}: {reason}", markup=False)
    for note in result.notes:
        console.print(f"- {note}", markup=False)


def _experiment(arguments):
    from tf_genbounds import experiments
    from tf_genbounds.checks import check_choice
    from tf_genbounds.data import load
    from tf_genbounds.report.plots import save_svg
    from tf_genbounds.report.writing import output_folder

    check_choice(
        "NAME", arguments.name, ("noise_attenuation", "noise_stability")
    )
    study = getattr(experiments, arguments.name)
    model = _load_model(arguments.model)
    x, _ = load(arguments.data, arguments.split)
    with output_folder(arguments.out) as folder:
        result = study(
            model, x, num_samples=arguments.num_samples, seed=arguments.seed
        )
        path = folder / f"{arguments.name}.json"
        path.write_text(result.to_json(), encoding="utf-8")
        save_svg(result.plot(), folder / f"{arguments.name}.svg")
        names = sorted(file.name for file in folder.iterdir())
    if arguments.json:
        print(result.to_json())
    else:
        print(f"Written to {arguments.out}: {', '.join(names)}")


def _load_model(path):
    import keras

    # For their side effect: a model may contain what they register.
    import tf_genbounds.layers
    import tf_genbounds.losses
    import tf_genbounds.monitor
    import tf_genbounds.regularizers  # noqa: F401

    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras lets through whatever the file causes.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        # Far down, when a class is neither Keras' own nor ours.
        unknown = re.search("Could not locate [a-z]+ '[^']*'[.]", str(error))
        reason = unknown.group() if unknown else lines[0]
        raise ValueError(
            f"This file cannot be loaded as a Keras model: {reason} "
            f"Received: model={path!r}"
        ) from None


def _write(report, folder):
    report.to_html(folder / "report.html")
    report.to_json(folder / "report.json")
    (folder / "report.md").write_text(report.to_markdown(), encoding="utf-8")


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
