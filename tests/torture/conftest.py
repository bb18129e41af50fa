"""The damage that tests do, counted: every test says what it tried, how often, and what was lost."""

from dataclasses import dataclass, field

import pytest


@dataclass(slots=True)
class Ledger:
    """What was tried and what was lost, added up by what it was."""

    entries: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, what: str, tried: int, lost: int) -> None:
        """Counts `tried` more of `what`, of which `lost` were lost."""
        before = self.entries.get(what, (0, 0))
        self.entries[what] = (before[0] + tried, before[1] + lost)


_LEDGER = pytest.StashKey[Ledger]()


@pytest.fixture(scope="session")
def ledger(pytestconfig: pytest.Config) -> Ledger:
    """The one that is printed at the end; to be added to before anything is asserted."""
    return pytestconfig.stash.setdefault(_LEDGER, Ledger())


@pytest.fixture(scope="session")
def full_length(pytestconfig: pytest.Config) -> bool:
    """Whether `--torture` asks for thousands of files and dozens of kills, not for a sample of them."""
    return bool(pytestconfig.getoption("--torture"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the table where the whole length was run."""
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
