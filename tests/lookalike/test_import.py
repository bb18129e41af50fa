"""`import lookalike` takes nothing with it, and offers what it says."""

import subprocess
import sys
from importlib import resources

import pytest

import lookalike

HEAVY = (
    "numpy",
    "onnx",
    "onnxruntime",
    "h5py",
    "qdrant_client",
    "qdrant_edge",
    "PIL",
    "typer",
    "rich",
    "sklearn",
)


def run(program: str) -> str:
    """What a new Python prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_imports_nothing_heavy() -> None:
    """In a new Python, which has nothing of the tests'."""
    loaded = f"import sys, lookalike; print([name for name in {HEAVY} if name in sys.modules])"
    assert run(loaded) == "[]"


def test_the_first_use_imports_what_it_takes_and_no_command_line() -> None:
    """The facade and all below it, without Typer or Rich."""
    used = (
        "import sys, lookalike; lookalike.Index; print([n for n in ('numpy', 'typer') if n in sys.modules])"
    )
    assert run(used) == "['numpy']"


@pytest.mark.parametrize("name", lookalike.__all__)
def test_what_is_offered_is_there(name: str) -> None:
    """By name, and in what `dir` lists."""
    assert getattr(lookalike, name) is not None
    assert name in dir(lookalike)


def test_what_is_not_there_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        lookalike.nothing  # noqa: B018


def test_its_types_are_for_others_to_check() -> None:
    """PEP 561."""
    assert resources.files("lookalike").joinpath("py.typed").is_file()


def test_the_errors_are_one_tree() -> None:
    """Whoever catches the root catches all of them."""
    kinds = [value for value in vars(lookalike.errors).values() if isinstance(value, type)]
    errors = [kind for kind in kinds if issubclass(kind, BaseException)]
    assert len(errors) > 10
    assert all(issubclass(kind, lookalike.errors.LookalikeError) for kind in errors)
