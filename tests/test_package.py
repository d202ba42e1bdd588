"""The package as a whole: what importing it costs, what it offers, and who imports whom."""

import ast
import importlib
import inspect
import json
import operator
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lensmetrics as lm

PACKAGE = Path(lm.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# module, name in it and public name of every line of the stub
STUB = re.findall(
    r"^from \.([\w.]+) import (\w+) as (\w+)$", Path(PACKAGE / "__init__.pyi").read_text(), re.MULTILINE
)

# Which modules may import what is heavy or belongs to one layer.
OWNERS = {
    "torch": (),
    "captum": (),
    "zennit": (),
    "generators": (),
    "h5py": (
        "pairfile/",
        "importers/",
    ),
    "hdf5plugin": ("pairfile/",),
    "numba": ("kernels/",),
    "matplotlib": ("figures/",),
    "distributed": ("cli/",),
    "jinja2": ("report/",),
}


def imported(path: Path) -> set[str]:
    """The packages that a module imports, relative imports left out."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module).split(".")[0])
    return names


def test_import_loads_nothing_heavy() -> None:
    code = "import json, sys, lensmetrics; dir(lensmetrics); print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert "lensmetrics" in loaded
    heavy = {
        "torch",
        "matplotlib",
        "pandas",
        "h5py",
        "numba",
        "numpy",
        "scipy",
        "xarray",
        "pyarrow",
        "jinja2",
        "tqdm",
    }
    assert not loaded & heavy


def test_scoring_a_pair_needs_no_files_and_no_figures() -> None:
    code = "import sys, lensmetrics as lm; lm.get_metric('kendall'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"torch", "matplotlib", "jinja2"}


def test_stub_lists_the_public_names() -> None:
    public = {name for _, _, name in STUB}
    assert len(public) == len(STUB)
    assert set(vars(lm)["__all__"]) == public
    assert public <= set(dir(lm))
    fixed = {
        *("MapPair", "PairStore", "PairWriter", "Metric", "FormatError"),
        *("get_metric", "parse_metric", "list_metrics", "lens_suite", "register"),
        *("score", "evaluate", "tidy", "to_xarray", "summarize"),
        *lm.list_metrics(),
    }
    assert fixed <= public


@pytest.mark.parametrize(("module", "name", "public"), STUB)
def test_public_name_is_what_the_stub_says(module: str, name: str, public: str) -> None:
    assert name == public
    there = getattr(importlib.import_module(f"lensmetrics.{module}"), name)
    assert getattr(lm, public) is there
    assert there.__name__ == name
    assert inspect.isclass(there) or inspect.isfunction(there)
    documentation = inspect.getdoc(there) or ""
    assert documentation
    # Types stand in the signature.
    if inspect.isfunction(there):
        assert all(p.annotation is not p.empty for p in inspect.signature(there).parameters.values())


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_like_it"):
        operator.attrgetter("nothing_like_it")(lm)


def test_no_module_has_the_name_of_something_public() -> None:
    names = {path.stem for path in MODULES} | {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert not names & {name for _, _, name in STUB}
    assert not names & {"core", "utils", "util", "common", "helpers", "misc"}


def test_public_names_survive_the_import_of_every_module() -> None:
    code = f"""
import importlib, lensmetrics as lm
for name in {[path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")]}:
    importlib.import_module("lensmetrics." + name)
print(*[name for name in lm.__all__ if not callable(getattr(lm, name))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_module_imports_only_what_its_layer_may(path: Path) -> None:
    place = path.relative_to(PACKAGE).as_posix()
    for package in imported(path) & set(OWNERS):
        assert place.startswith(OWNERS[package]), f"{place} must not import {package}"
    if place.startswith("kernels/"):
        assert imported(path) <= {"math", "numba", "numpy", "warnings"}


def test_dependencies_are_declared() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = {
        re.split(r"\W", line.replace("-", "_"), maxsplit=1)[0]
        for line in (*project["dependencies"], *extras["zstd"], *extras["distributed"])
    }
    used = set().union(*map(imported, MODULES)) - set(sys.stdlib_module_names)
    assert used <= declared


def test_version_is_the_projects() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    assert lm.__version__ == project["version"]


def test_types_are_shipped() -> None:
    assert (PACKAGE / "py.typed").exists()
