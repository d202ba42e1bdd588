"""The package as a whole: what importing it costs, what it offers, and who imports whom."""

import ast
import graphlib
import importlib
import inspect
import json
import operator
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import lensmetrics as lm

PACKAGE = Path(lm.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# module, name in it and public name of every line of the stub
STUB = re.findall(
    r"^from \.([\w.]+) import (\w+) as (\w+)$", Path(PACKAGE / "__init__.pyi").read_text(), re.MULTILINE
)

# Which modules may import what is heavy or belongs to one room.
OWNERS = {
    "torch": ("importers/torch.py",),
    "safetensors": ("importers/safetensors.py",),
    "PIL": ("importers/images.py",),
    "captum": (),
    "zennit": (),
    "generators": (),
    "h5py": ("pairfile/", "importers/"),
    "hdf5plugin": ("pairfile/",),
    "numba": ("kernels/",),
    "matplotlib": ("figures/",),
    "distributed": ("scoring/executors.py",),
    "jinja2": ("report/",),
    "starlette": ("explorer/",),
    "uvicorn": ("explorer/",),
}
# What each room may import of the others; the modules of the ground floor may import one another.
GROUND = ("errors", "statuses", "disk", "processes", "children", "messages")
ROOMS = {
    "kernels": (),
    "pairs": ("kernels",),
    "tables": (),
    "metrics": ("kernels", "pairs", "tables"),
    "pairfile": ("pairs", "tables"),
    "importers": ("pairs", "pairfile", "tables"),
    "scoring": ("pairs", "metrics", "pairfile", "tables"),
    "figures": ("pairs", "tables"),
    "report": ("pairs", "metrics", "pairfile", "tables", "figures"),
    "certificates": ("pairfile", "scoring", "tables"),
    "explorer": ("pairs", "metrics", "pairfile", "scoring", "tables", "figures", "report"),
    "demo": ("metrics", "pairfile", "scoring", "tables", "report"),
    "cli": (
        *("pairs", "metrics", "pairfile", "importers", "scoring", "tables", "figures", "report"),
        *("certificates", "explorer", "demo"),
    ),
    "__main__": ("cli",),
}
INDEPENDENT = ("errors", "statuses")


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
        "starlette",
        "uvicorn",
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
    assert {*public, "__version__"} <= set(dir(lm))
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
    assert ">>> " in documentation, f"{public} needs an example"
    # The signature has the types.
    if inspect.isfunction(there):
        assert all(p.annotation is not p.empty for p in inspect.signature(there).parameters.values())


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_like_it"):
        operator.attrgetter("nothing_like_it")(lm)


def test_no_module_has_the_name_of_something_public() -> None:
    modules = [path for path in MODULES if path.parent.name != "cli"]  # which are named after commands
    names = {path.stem for path in modules} | {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert not names & {name for _, _, name in STUB}
    assert not names & {"core", "utils", "util", "common", "helpers", "misc"}


def test_public_names_survive_the_import_of_every_module() -> None:
    code = f"""
import importlib, lensmetrics as lm
for name in {sorted(name_of(path) for path in MODULES if path.stem != "__main__")}:
    importlib.import_module("lensmetrics." + name if name else "lensmetrics")
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


def own_imports(path: Path, *, at_import: bool = False) -> set[str]:
    """The modules of the package that a module imports, `at_import` only those outside functions."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _executed(tree) if at_import else ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*parts[: len(parts) - node.level], *(node.module or "").split(".")]
            module = ".".join(filter(None, base))
            submodules = {".".join(filter(None, (module, alias.name))) for alias in node.names}
            found |= {name for name in submodules if name in NAMES} or {module}
    return found - {""}


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _executed(node)


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_room_imports_only_rooms_below_it(path: Path) -> None:
    room = path.relative_to(PACKAGE).with_suffix("").parts[0]
    others = {module.split(".")[0] for module in own_imports(path)} - {room}
    if room in INDEPENDENT:
        assert not others, f"{room} must not import {others}"
    elif room != "__init__":
        allowed = {*GROUND, *(() if room in GROUND else ROOMS[room])}
        assert others <= allowed, f"{name_of(path)} must not import {others - allowed}"


def test_every_room_has_its_rule() -> None:
    rooms = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in MODULES} - {"__init__"}
    assert rooms == {*GROUND, *ROOMS}


def test_modules_do_not_import_in_a_circle() -> None:
    graph = {name: own_imports(path, at_import=True) & set(NAMES) for name, path in NAMES.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises a CycleError that names the circle


def test_tables_load_no_compiler_and_no_hdf5() -> None:
    """What no process that imports them all has loaded, none of them loads."""
    modules = sorted(f"lensmetrics.{name}" for name in NAMES if name.startswith("tables."))
    assert modules
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"numba", "h5py", "matplotlib", "torch"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_private_names_stay_in_their_module(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            private = [alias.name for alias in node.names if alias.name.startswith("_")]
            assert not [name for name in private if not name.startswith("__")], ast.unparse(node)


def test_generators_and_benchmarks_take_public_names() -> None:
    root = PACKAGE.parent
    for folder in ("generators", "benchmarks"):
        for path in (root / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "lensmetrics":
                    assert not [alias.name for alias in node.names if alias.name.startswith("_")], path
                    assert folder == "benchmarks" or node.module == "lensmetrics", path
                if isinstance(node, ast.Attribute):
                    assert ast.unparse(node) not in ("sys.path",), f"{path} edits sys.path"


def test_long_modules_say_why() -> None:
    for path in (*MODULES, *sorted((PACKAGE.parent / "generators").rglob("*.py"))):
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > 320:
            documentation = ast.get_docstring(ast.parse("\n".join(lines))) or ""
            assert "module is long" in documentation, f"{path} has {len(lines)} lines and no reason"


def test_dependencies_are_declared() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = {
        re.split(r"\W", line.replace("-", "_"), maxsplit=1)[0]
        for line in (
            *project["dependencies"],
            *extras["zstd"],
            *extras["files"],
            *extras["explore"],
            *extras["distributed"],
        )
    }
    used = set().union(*map(imported, MODULES)) - set(sys.stdlib_module_names)
    # Pillow is imported under another name; torch is whichever one the user has.
    assert used <= {*declared - {"pillow"}, "PIL", "torch"}
    assert "pillow" in declared


def test_import_of_other_files_loads_no_library_before_such_a_file_is_opened() -> None:
    code = "import sys, lensmetrics.importers; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"torch", "safetensors", "PIL"}


def test_the_version_has_one_source() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "lensmetrics/__init__.py"
    citation = (PACKAGE.parent / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [lm.__version__]


def test_types_are_shipped() -> None:
    assert (PACKAGE / "py.typed").exists()
