"""The list of checks, in the order of their findings."""

from lookalike.commands.checks.runner import Check

_HERE = "lookalike.commands.checks"

CHECKS = (
    Check(name="environment", function=f"{_HERE}.environment_check:check_environment"),
    Check(name="python", function=f"{_HERE}.package_checks:check_python"),
    Check(name="runtime", function=f"{_HERE}.package_checks:check_runtimes"),
    Check(name="cuda", function=f"{_HERE}.provider_checks:check_cuda", timeout_s=60.0),
    Check(name="openvino", function=f"{_HERE}.provider_checks:check_openvino", timeout_s=60.0),
    Check(name="extras", function=f"{_HERE}.package_checks:check_extras"),
    Check(name="home", function=f"{_HERE}.home_check:check_home"),
    Check(
        name="weights",
        function=f"{_HERE}.weights_check:check_weights",
        offline=f"{_HERE}.weights_check:check_local_weights",
        timeout_s=60.0,
    ),
    Check(name="store", function=f"{_HERE}.store_check:check_store", timeout_s=60.0),
    Check(name="model test", function=f"{_HERE}.self_tests:check_model", timeout_s=120.0),
    Check(name="store test", function=f"{_HERE}.self_tests:check_embedded_store", timeout_s=60.0),
)
"""The first one must be that of the environment; see `run_checks`."""
