"""What is installed is what is in the repository."""

import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

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
