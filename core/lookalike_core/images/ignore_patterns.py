"""Gitignore patterns as regular expressions: translated by pathspec, except for sets of characters.

Pathspec lets a slash match a set (`x[!y]` the path `x/`), takes a backslash in it literally, does not support
`[:digit:]`, and makes expressions of which Python warns. Here sets match as in git
(https://github.com/git/git/blob/master/wildmatch.c), but by characters where git's match bytes.
"""

import re


def pattern_regex(pattern: str) -> re.Pattern[str] | None:
    """Returns the regex to search a path with for a pattern without `!`; None if git ignores the pattern.

    A folder's path ends in a slash; the content of a matching folder matches, too.

    Raises:
        ValueError: the pattern is malformed.
    """
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    sets: list[str] = []
    without_sets = _SETS.sub(lambda found: _put_by(found[0], sets), pattern)
    if any("/" in each for each in sets) and not pattern.startswith("/"):
        without_sets = f"/{without_sets}"  # to git any slash makes a pattern one of paths
    regex, _ = GitIgnoreSpecPattern.pattern_to_regex(without_sets)
    if regex is None:
        return None
    regex = _STARS.sub(r"(?>[^/]*?\1)", regex)
    for each in sets:
        regex = regex.replace(_PLACE, _set_regex(each), 1)
    try:
        return re.compile(regex)
    except re.error as error:
        raise ValueError(str(error)) from error


_PLACE = "\0"
"""The placeholder of a set in a pattern; no path contains it."""

_CHARACTER = r"(?:\\.|[^\\])"
_IN_SET = rf"(?>\[:[^]:]*:\]|{_CHARACTER}-(?:\\.|[^]\\])|{_CHARACTER})"
_SETS = re.compile(rf"\\.|\[[!^]?+{_IN_SET}(?>(?!\]){_IN_SET})*+\]|\[|\0", re.DOTALL)
"""Matches sets of characters, as `[!a-z]` and `[[:digit:]_]`, escaped characters, and malformed sets."""

_STARS = re.compile(r"\[\^/\]\*((?:\\.|\[\^/\](?![*+])|[^\\/\[(|)])*)(?=\[\^/\]\*)", re.DOTALL)
"""Matches a star with the text up to the next star.

If the first match of that text does not lead to a match of the whole, no later one does, so the regex need
not backtrack.
"""

_NAMED_SETS = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": r"\s",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


def _put_by(text: str, sets: list[str]) -> str:
    if text.startswith("\\"):
        return text
    if text in ("[", _PLACE):
        raise ValueError("a set of characters that does not end" if text == "[" else "a null character")
    sets.append(text)
    return _PLACE


def _set_regex(text: str) -> str:
    """Returns the regular expression of a set: escaped characters are literal, and a slash never matches."""
    inside = text[1:-1]
    negated = inside.startswith(("!", "^"))
    parts = [_part_regex(part) for part in re.findall(_IN_SET, inside[negated:], re.DOTALL)]
    return f"(?!/)[{'^' * negated}{''.join(parts)}]"


def _part_regex(part: str) -> str:
    if part.startswith("[:") and part.endswith(":]"):
        if part[2:-2] not in _NAMED_SETS:
            raise ValueError(f"{part} is not a known character class")
        return _NAMED_SETS[part[2:-2]]
    first, *last = re.findall(_CHARACTER, part, re.DOTALL)
    return "-".join(re.escape(each[-1]) for each in [first, *last[1:]])
