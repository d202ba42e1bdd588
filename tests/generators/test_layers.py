"""Who imports what: public names of lensmetrics only, and nothing happens when a module is imported."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import generators

ROOT = Path(generators.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """The absolute imports of a module, in full."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module))
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_public_names_of_lensmetrics_are_used(path: Path) -> None:
    found = imports(path)
    assert not {name for name in found if name.startswith("lensmetrics.")}
    assert not found & {"fcntl", "msvcrt"}
    assert "sys.path" not in path.read_text(encoding="utf-8")


def test_importing_the_commands_changes_no_setting_of_torch_and_imports_no_torchvision() -> None:
    """Only its own networks need torchvision."""
    code = """
import torch
def settings():
    cuda = torch.backends.cuda
    return cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.cudnn_sdp_enabled()
before = settings()
import generators.generate, generators.sweep, generators.train
assert settings() == before
import sys
from generators.networks import checkpoints, models
models.build("small_cnn", 10)
assert "torchvision" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT.parent)


def test_commands_take_subnormal_numbers_as_zero_in_every_thread() -> None:
    code = """
import threading
import torch
from generators.commands import run
torch.set_num_threads(2)
def share():
    values = torch.full((2**20,), 1e-30, requires_grad=True)
    (gradient,) = torch.autograd.grad(1e-20 * values.sum() * 1e-10, values, torch.tensor(1e-10))
    return float((values * 1e-10 > 0).float().mean()), float((gradient > 0).float().mean())
found = []
def work():
    found.append(share())
    thread = threading.Thread(target=lambda: found.append(share()))
    thread.start()
    thread.join()
    assert run(lambda: found.append(share())) == 0  # as the files of a sweep
    found.append(share())
assert run(work) == 0
assert found == [(0, 0)] * 4, found
assert torch.tensor([1e-30]) * 1e-10 > 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT.parent)


def test_missing_torch_is_an_import_error_that_says_what_to_install() -> None:
    code = (
        "import importlib.util as u; f = u.find_spec; u.find_spec = lambda n, p=None: None if n == 'torch' "
    )
    code += "else f(n, p); import generators"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=ROOT.parent, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "ModuleNotFoundError: the generators need torch: install it, or pip install" in done.stderr
