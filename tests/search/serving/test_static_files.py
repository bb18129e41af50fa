"""The scripts and style sheets of the page."""

from lookalike_search.serving.static_files import static_files

MOST_BYTES = 150_000


def test_the_code_of_the_page_is_small() -> None:
    """All scripts and style sheets of all views together, uncompressed."""
    sizes = {name: len(file.content) for name, file in static_files().items()}
    assert {"site.js", "ask.js", "map.js", "style.css"} <= sizes.keys()
    assert sum(sizes.values()) < MOST_BYTES, sizes
