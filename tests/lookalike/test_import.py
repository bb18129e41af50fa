"""The imports of `import lookalike`, and its public names."""

import inspect
import subprocess
import sys
from importlib import resources
from typing import Any, get_args, get_type_hints, is_typeddict

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
    "pyarrow",
)


def run(program: str) -> str:
    """Returns what a new Python process prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_imports_nothing_heavy() -> None:
    """It is checked in a new Python process."""
    loaded = f"import sys, lookalike; print([name for name in {HEAVY} if name in sys.modules])"
    assert run(loaded) == "[]"


def test_the_first_use_imports_what_it_takes_and_no_command_line() -> None:
    """It imports the facade and the stages, but neither Typer nor Rich."""
    used = (
        "import sys, lookalike; lookalike.Index; "
        "print([n for n in ('numpy', 'typer', 'pyarrow') if n in sys.modules])"
    )
    assert run(used) == "['numpy']"


@pytest.mark.parametrize("name", lookalike.__all__)
def test_all_public_names_can_be_imported(name: str) -> None:
    """`dir` lists them, too."""
    assert getattr(lookalike, name) is not None
    assert name in dir(lookalike)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """The message is that of any module."""
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        lookalike.nothing  # noqa: B018


def test_the_package_is_typed() -> None:
    """It has the marker file of PEP 561."""
    assert resources.files("lookalike").joinpath("py.typed").is_file()


@pytest.mark.parametrize("name", lookalike.__all__)
def test_types_of_arguments_are_public(name: str) -> None:
    """No argument needs an import from an inner package."""
    offered = {getattr(lookalike, each) for each in lookalike.__all__}
    for method in public_methods(getattr(lookalike, name)):
        parameters = inspect.signature(method).parameters.values()
        taken = {kind for parameter in parameters for kind in classes_in(parameter.annotation)}
        assert {kind for kind in taken - offered if kind.__module__.startswith("lookalike")} == set(), method


def public_methods(thing: object) -> list[Any]:
    """Returns functions and class methods of a class, or the function itself."""
    if not isinstance(thing, type):
        return [thing] if inspect.isfunction(thing) else []
    members = [getattr(thing, name) for name in dir(thing) if not name.startswith("_")]
    return [member for member in members if inspect.isfunction(member) or inspect.ismethod(member)]


def classes_in(hint: Any) -> set[type]:
    """Returns the classes in an annotation at any depth, with those of options in a `TypedDict`."""
    inner = get_type_hints(hint).values() if is_typeddict(hint) else get_args(hint)
    return set().union(*map(classes_in, inner)) if inner else {hint} if isinstance(hint, type) else set()


def test_the_errors_are_one_tree() -> None:
    """Catching the root catches all of them."""
    kinds = [value for value in vars(lookalike.errors).values() if isinstance(value, type)]
    errors = [kind for kind in kinds if issubclass(kind, BaseException)]
    assert len(errors) > 10
    assert all(issubclass(kind, lookalike.errors.LookalikeError) for kind in errors)


def test_types_of_a_hint_are_public() -> None:
    """A program can test for an action and read a value."""
    errors = lookalike.errors
    with pytest.raises(errors.UsageError) as refused:
        lookalike.Model("vgg16", weights="imagenet", precision="int8", layer="block1_conv1")
    assert isinstance(refused.value.hint, errors.Hint)
    assert isinstance(refused.value.hint.action, errors.Action)
    assert all(isinstance(argument, errors.Argument) for argument in refused.value.hint.values)
