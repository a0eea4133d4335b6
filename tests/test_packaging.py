"""What is installed is what is in the repository."""

import dataclasses
import inspect
import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

import tf_genbounds as gb

ROOT = pathlib.Path(__file__).parents[1]


def python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    ).stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    python("-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.mark.slow
def test_wheel_has_every_module_and_the_template(distributions, tmp_path):
    (wheel,) = distributions.glob("*.whl")
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tf_genbounds").rglob("*")
        if path.suffix in (".py", ".html", ".typed")
    }
    names = zipfile.ZipFile(wheel).namelist()
    assert {n for n in names if n.startswith("tf_genbounds/")} == source
    assert any(n.endswith("licenses/LICENSE") for n in names)

    python("-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path, wheel)
    modules = [
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in source
        if name.endswith(".py")
    ]
    code = (
        f"import sys, importlib; sys.path.insert(0, {str(tmp_path)!r})\n"
        f"for name in {modules}:\n"
        "    path = importlib.import_module(name).__file__\n"
        f"    assert path.startswith({str(tmp_path)!r}), path\n"
    )
    python("-I", "-c", code)


@pytest.mark.slow
def test_source_distribution_builds(distributions):
    assert len(list(distributions.glob("*.tar.gz"))) == 1


def test_jax_users_need_no_tensorflow():
    code = "import sys, tf_genbounds; print('tensorflow' in sys.modules)"
    assert python("-c", code, KERAS_BACKEND="jax").strip() == "False"


def test_other_backends_are_refused_by_name():
    code = (
        "import keras\n"
        "keras.backend.backend = lambda: 'torch'\n"
        "try:\n    import tf_genbounds\n"
        "except ImportError as error:\n    print(error)"
    )
    assert "Received: KERAS_BACKEND=torch" in python("-c", code)


def public(module=gb, seen=None):
    """Yields every public function and class, with its name."""
    seen = set() if seen is None else seen
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.ismodule(thing):
            yield from public(thing, seen)
        elif (
            inspect.isclass(thing) or inspect.isfunction(thing)
        ) and thing not in seen:
            seen.add(thing)
            yield thing


def signatures(thing):
    """Yields the functions whose signatures are public."""
    if not inspect.isclass(thing):
        yield thing
        return
    made = dataclasses.is_dataclass(thing)  # Its fields are annotated, or it has none.
    for name, value in vars(thing).items():
        value = value.fget if isinstance(value, property) else value
        value = getattr(value, "__func__", value)
        hidden = name.startswith("_") and (made or name not in ("__init__", "__call__"))
        own = getattr(value, "__module__", None) == thing.__module__
        if inspect.isfunction(value) and own and not hidden:
            yield value


def test_every_public_signature_is_annotated():
    missing = []
    for thing in public():
        for function in signatures(thing):
            parameters = inspect.signature(function).parameters.values()
            named = [p for p in parameters if p.name not in ("self", "cls")]
            hints = [p.annotation for p in named]
            hints.append(inspect.signature(function).return_annotation)
            if inspect.Parameter.empty in hints:
                missing.append(function.__qualname__)
    assert not missing


def test_every_public_name_has_an_example():
    bare = [t.__name__ for t in public() if "Example" not in (t.__doc__ or "")]
    assert not bare
