"""What the control groups of this process say: limits of a container, a service or a batch job (Linux)."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def read_groups(name: str, *, groups: Path = GROUPS, own: Path = OWN) -> Iterator[str]:
    """Yields the text of a file like `cpu.max` of each group that has it, from the process' own outwards.

    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    for group in _groups_of(groups, own):
        with suppress(OSError, ValueError):
            yield (group / name).read_text(encoding="utf-8").strip()


def _groups_of(groups: Path, own: Path) -> list[Path]:
    with suppress(OSError, ValueError):
        [name] = [line[3:] for line in own.read_text(encoding="utf-8").splitlines() if line[:3] == "0::"]
        group = groups / name.lstrip("/")
        if ".." in group.parts:
            return [groups]
        return [each for each in (group, *group.parents) if each.is_relative_to(groups)]
    return []
