"""The house: which package may import which, read off the sources."""

import ast
import graphlib
import pathlib

ROOT = pathlib.Path(__file__).parents[1] / "tf_genbounds"
# From the ground up: a package imports from those before it.
ORDER = (
    "_version",
    "keras_internals",
    "backend",
    "checks",
    "functional",
    "bounds",
    "data",
    "losses",
    "regularizers",
    "layers",
    "network",
    "measure",
    "metrics",
    "callbacks",
    "certificates",
    "compression",
    "pick_to_learn",
    "pac_bayes",
    "two_phase",
    "report",
    "experiments",
    "cli",
)


def modules():
    """Returns the path of every module by its name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(p for p in parts if p != "__init__")] = path
    return found


def imports(path, known):
    """Yields the modules of the package that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            assert node.level == 0, f"{path}: relative imports hide what is imported"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in known else node.module


def package(name):
    return name.split(".")[1] if "." in name else None


def test_imports_point_down():
    known = modules()
    up = [
        f"{name} imports {other}"
        for name, path in known.items()
        for other in imports(path, known)
        if package(name)
        and (
            package(other) is None
            or ORDER.index(package(other)) > ORDER.index(package(name))
        )
        and other != "tf_genbounds"
    ]
    assert not up


def test_no_module_imports_itself_in_a_circle():
    known = modules()
    graph = {
        # What a package exports it imports, so that its parts may not import it.
        name: {other for other in imports(path, known) if other != "tf_genbounds"}
        for name, path in known.items()
    }
    tuple(graphlib.TopologicalSorter(graph).static_order())


def test_the_top_of_the_package():
    entries = {p.name.removesuffix(".py") for p in ROOT.iterdir()}
    assert entries - {"__init__", "__pycache__", "typed"} == {*ORDER, "py.typed"}


def test_every_folder_is_in_the_wheel():
    for path in ROOT.rglob("*.py"):
        assert (path.parent / "__init__.py").exists(), path
