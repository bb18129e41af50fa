"""Imports of `search` and its subcommands."""

import subprocess
import sys

NEVER = {"qdrant_client", "scipy", "sklearn", "matplotlib", "onnx", "h5py", "jinja2", "pooch", "rich", "grpc"}
NEVER |= {"starlette", "uvicorn", "python_multipart", "prometheus_client", "asyncio"}
"""What an embedded query has no use for."""

SAY_MODULES = (
    "import sys, atexit; sys.argv[0] = 'search'\n"
    "atexit.register(lambda: print('\\nMODULES', *sys.modules))\n"
    "from lookalike_search.__main__ import main; main()\n"
)


def imported(*arguments: str) -> set[str]:
    """Returns the top-level modules that a whole process has imported."""
    process = subprocess.run(
        [sys.executable, "-c", SAY_MODULES, *arguments], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    said = process.stdout.rpartition("MODULES ")[2].split()
    return {name.partition(".")[0] for name in said}


def test_help_imports_no_library_but_its_own() -> None:
    """`search --help` needs only the names and first lines of the subcommands."""
    modules = imported("--help")
    assert "typer" in modules
    assert modules.isdisjoint(
        NEVER | {"numpy", "onnxruntime", "PIL", "qdrant_edge", "pydantic", "lookalike_exporter"}
    )


def test_a_query_imports_only_what_it_uses() -> None:
    """Its help imports its module, but no ONNX Runtime, Pillow or store engine."""
    modules = imported("query", "--help")
    assert modules.isdisjoint(NEVER | {"onnxruntime", "PIL", "qdrant_edge"})


def test_a_query_imports_nothing_that_exports() -> None:
    """Its model is in the cache as a rule; what reads weights and builds graphs is imported otherwise."""
    code = "import sys, lookalike_search.commands.query; print(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    exports = {"export", "graph", "weights", "weights_sources", "keras_layouts", "quantization"}
    exports |= {"spec", "network", "vgg16", "resnet101v2", "recorded_models"}
    assert {f"lookalike_exporter.{name}" for name in exports}.isdisjoint(process.stdout.split())
