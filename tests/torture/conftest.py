"""Counts the damage that tests do: each test records its attempts and its losses."""

from dataclasses import dataclass, field

import pytest


@dataclass(slots=True)
class Ledger:
    """The numbers of attempts and losses by kind."""

    entries: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, what: str, tried: int, lost: int) -> None:
        """Adds `tried` attempts of `what`, `lost` of which lost something."""
        before = self.entries.get(what, (0, 0))
        self.entries[what] = (before[0] + tried, before[1] + lost)


_LEDGER = pytest.StashKey[Ledger]()


@pytest.fixture(scope="session")
def ledger(pytestconfig: pytest.Config) -> Ledger:
    """Returns the ledger that is printed at the end; tests add to it before they assert."""
    return pytestconfig.stash.setdefault(_LEDGER, Ledger())


@pytest.fixture(scope="session")
def full_length(pytestconfig: pytest.Config) -> bool:
    """Returns whether `--torture` asks for thousands of files and dozens of kills, not for a sample."""
    return bool(pytestconfig.getoption("--torture"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the ledger after a run of full length."""
    entries = config.stash.get(_LEDGER, Ledger()).entries
    if not entries or not config.getoption("--torture"):
        return
    width = max(map(len, entries))
    terminalreporter.section("torture")
    terminalreporter.line(f"{'what':{width}}  {'tried':>7}  {'lost':>5}")
    for what, (tried, lost) in entries.items():
        terminalreporter.line(f"{what:{width}}  {tried:>7,}  {lost:>5,}")
    tried, lost = (sum(numbers) for numbers in zip(*entries.values(), strict=True))
    terminalreporter.line(f"{tried:,} tried, {lost:,} lost")
