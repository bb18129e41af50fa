"""How records show themselves in a notebook: the pages of the commands, each in a frame of its own."""

from abc import ABC, abstractmethod
from html import escape

HEIGHT_PX = 480


class ShownAsPage(ABC):
    """What a notebook shows as a page, with its thumbnails in it: nothing is asked for from elsewhere."""

    __slots__ = ()

    @abstractmethod
    def to_html(self) -> str:
        """Returns the whole page as text; thumbnails are made of the files as they are now."""

    def _repr_html_(self) -> str:
        """Returns a frame with the page, which keeps its styles and scripts apart from the notebook's."""
        page = escape(self.to_html(), quote=True)
        style = f"width: 100%; height: {HEIGHT_PX}px; border: 0; resize: vertical; overflow: auto"
        return f'<iframe srcdoc="{page}" sandbox="allow-scripts" style="{style}"></iframe>'
