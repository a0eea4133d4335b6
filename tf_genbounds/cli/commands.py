"""What the commands of the command line do.

TensorFlow is imported inside them, so that `--help` is quick.
"""

import contextlib
import re


def demo(arguments):
    """Trains on digits with DARC1 and without."""
    from rich.console import Console

    from tf_genbounds.cli import demo as demonstration
    from tf_genbounds.report.text import rich_table
    from tf_genbounds.report.writing import output_folder

    with output_folder(arguments.out) as folder:
        result = demonstration.run(
            epochs=arguments.epochs,
            seed=arguments.seed,
            console=Console(stderr=True),
        )
        for name, model in result.models.items():
            model.save(folder / name)
        result.compressed.save(folder / "compressed.code")
        _write(result.report, folder)
        names = sorted(file.name for file in folder.iterdir())
    if arguments.json:
        print(result.report.to_json())
        return
    Console().print(rich_table(demonstration.summary(result)))
    print(demonstration.conclusion(result))
    print(f"\nWritten to {arguments.out}: {', '.join(names)}")


def certify(arguments):
    """Certifies a saved model by held-out data."""
    from tf_genbounds.certificates import certify as make
    from tf_genbounds.data.datasets import load

    options = {}
    if arguments.top_k is not None:
        options = {"metric": "top_k_error", "k": arguments.top_k}
    certificate = make(
        _load_model(arguments.model),
        load(arguments.data, arguments.split),
        delta=arguments.delta,
        num_models=arguments.num_models,
        groups=arguments.groups,
        threshold=arguments.threshold,
        **options,
    )
    if arguments.out:
        with _writing(arguments.out):
            certificate.to_json(arguments.out)
    print(certificate.to_json() if arguments.json else certificate)
    if certificate.groups and not arguments.json:
        _print_groups(certificate)


def _print_groups(certificate):
    from rich.console import Console

    from tf_genbounds.bounds import at_most
    from tf_genbounds.report.numbers import NOTHING
    from tf_genbounds.report.table import Table
    from tf_genbounds.report.table import tuples
    from tf_genbounds.report.text import rich_table

    rows = [
        (
            part.name,
            f"{part.num_samples:,}",
            NOTHING if part.empirical is None else at_most(part.empirical),
            at_most(part.value),
        )
        for part in certificate.groups
    ]
    headings = ("Part", "Examples", "Seen", "At most")
    Console(highlight=False).print(rich_table(Table("", headings, tuples(rows))))


def verify(arguments):
    """Checks a certificate by computing it again."""
    # For their kinds of certificates.
    import tf_genbounds.compression
    import tf_genbounds.pac_bayes
    import tf_genbounds.pick_to_learn  # noqa: F401
    from tf_genbounds.certificates import Certificate
    from tf_genbounds.data.datasets import load

    try:
        with open(arguments.certificate, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"The file cannot be read as a certificate ({error}). "
            f"Received: certificate={arguments.certificate!r}"
        ) from None
    certificate = Certificate.from_json(text)
    if certificate.kind == "pick_to_learn":
        raise ValueError(
            "Pick-to-Learn is verified by training again, which takes the training's "
            "own code: `certificate.verify(model, data, training=...)` in Python. "
            f"Received: certificate={arguments.certificate!r}"
        )
    if certificate.kind == "pac_bayes_draw":
        raise ValueError(
            "A network that was drawn is verified with what it was drawn from: "
            "`certificate.verify(model, data, posterior=...)` in Python. "
            f"Received: certificate={arguments.certificate!r}"
        )
    model, data = _load_model(arguments.model), load(arguments.data, arguments.split)
    certificate.verify(model, data)
    print(certificate.to_json() if arguments.json else f"Verified. {certificate}")


def report(arguments):
    """Reports on a saved model."""
    from tf_genbounds.data.datasets import load
    from tf_genbounds.report import report as make
    from tf_genbounds.report.writing import output_folder

    model = _load_model(arguments.model)
    train = load(arguments.data, arguments.split_train)
    validation = None
    if arguments.split_validation != "none":
        validation = load(arguments.data, arguments.split_validation)
    with output_folder(arguments.out) as folder:
        result = make(
            model,
            train,
            validation,
            num_samples=arguments.num_samples,
            interlayer_samples=arguments.interlayer_samples,
            threshold=arguments.threshold,
        )
        _write(result, folder)
    print(result.to_json() if arguments.json else result.to_text())


def measure(arguments):
    """Measures a saved model."""
    from rich.console import Console

    from tf_genbounds.data.datasets import load
    from tf_genbounds.measure.measure import measure as take
    from tf_genbounds.report.interlayer_tables import effective_parameters
    from tf_genbounds.report.table import layers_table
    from tf_genbounds.report.text import rich_table
    from tf_genbounds.report.wording import INTERLAYER
    from tf_genbounds.report.wording import QUANTITIES

    model = _load_model(arguments.model)
    result = take(
        model,
        load(arguments.data, arguments.split),
        quantities=arguments.quantities,
        threshold=arguments.threshold,
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


@contextlib.contextmanager
def _writing(path):
    try:
        yield
    except OSError as error:
        raise OSError(
            f"The file cannot be written ({error.strerror}). Received: out={path!r}"
        ) from None


def compress(arguments):
    """Compresses a saved model."""
    import dataclasses
    import json
    import os
    import tempfile

    from rich.console import Console

    from tf_genbounds.bounds.result import to_plain
    from tf_genbounds.compression import compress as make
    from tf_genbounds.data.datasets import load
    from tf_genbounds.report.numbers import number
    from tf_genbounds.report.table import Table
    from tf_genbounds.report.table import tuples
    from tf_genbounds.report.text import rich_table

    model = _load_model(arguments.model)
    folder = os.path.dirname(os.path.abspath(arguments.out))
    with _writing(arguments.out), tempfile.TemporaryFile(dir=folder):
        pass  # Told now, not after minutes of work.
    found = make(
        model,
        load(arguments.data, arguments.split),
        arguments.method,
        delta=arguments.delta,
        keep=arguments.keep,
        tolerance=arguments.tolerance,
        threshold=arguments.threshold,
        seed=arguments.seed,
    )
    with _writing(arguments.out):
        found.save(arguments.out)
    bound = found.certificate.bound
    if arguments.json:
        print(
            json.dumps(
                {
                    "certificate": bound.to_fields(),
                    "arrays": [to_plain(dataclasses.asdict(a)) for a in found.arrays],
                    "bits": found.certificate.bits,
                }
            )
        )
        return
    rows = [
        (
            array.name,
            array.method,
            number(array.numbers),
            number(array.bits),
            number(array.relative_error),
        )
        for array in found.arrays
    ]
    headings = ("Weights", "Method", "Numbers", "Bits", "Relative error")
    Console(highlight=False).print(
        rich_table(Table("", headings, tuples(rows), num_labels=2))
    )
    before = 4 * model.count_params()
    after = -(-found.certificate.bits // 8)
    print(f"{number(before)} bytes of weights became {number(after)} of code.")
    print(bound)
    size = os.path.getsize(arguments.out)
    print(f"\nWritten to {arguments.out}, {number(size)} bytes with the architecture")


def experiment(arguments):
    """Runs a study on a saved model."""
    from tf_genbounds import experiments
    from tf_genbounds.checks import check_choice
    from tf_genbounds.data.datasets import load
    from tf_genbounds.report.plots import save_svg
    from tf_genbounds.report.writing import output_folder

    studies = ("noise_attenuation", "noise_stability", "compare_bounds")
    check_choice("NAME", arguments.name, studies)
    study = getattr(experiments, arguments.name)
    model = _load_model(arguments.model)
    data = load(arguments.data, arguments.split)
    with output_folder(arguments.out) as folder:
        result = study(
            model, data, num_samples=arguments.num_samples, seed=arguments.seed
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
    import tf_genbounds.compression
    import tf_genbounds.layers.darc
    import tf_genbounds.layers.gates
    import tf_genbounds.losses
    import tf_genbounds.metrics.monitored_model
    import tf_genbounds.pac_bayes
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
