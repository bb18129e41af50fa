"""What the view `/` shows beside the answer: addresses of thumbnails and further questions, and choices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import Payload

from lookalike_search.asking.answers import Neighbour
from lookalike_search.serving.indexed_images import is_id
from lookalike_search.serving.pages.question import CHOICE, FILTERS, IMAGES, KEPT, NO_CLASS, PANELS, Question
from lookalike_search.serving.query_fields import UPLOAD_PREFIX
from lookalike_search.serving.records import ServedCollection, ServedCollections, UploadRecord

EDGE = 320
"""The longer side of a neighbour's thumbnail, in pixels: sharp on screens of twice the density."""

LARGE_EDGE = 768
"""The same of the image that is asked with."""

CLEARED = (*FILTERS, "min_score", "max_distance", "exact", "without_near", "confidence", *CHOICE)
"""The filters and choices of a question, which one link leaves out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An image of a page: its address and its size in pixels."""

    address: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedImage:
    """An image that can be asked with: `width` and `height` are those of its file."""

    name: str
    class_name: str | None
    id: str | None
    base: str
    scope: str
    width: int
    height: int

    @classmethod
    def of_indexed(cls, payload: Payload, names: Sequence[str]) -> "AskedImage":
        """Returns an indexed image, which one of some collections has."""
        return cls(
            name=payload.path,
            class_name=payload.class_name,
            id=payload.id,
            base=f"/api/v1/images/{payload.id}",
            scope=_scope(names),
            width=payload.width,
            height=payload.height,
        )

    @classmethod
    def of_upload(cls, upload: UploadRecord) -> "AskedImage":
        """Returns an upload."""
        return cls(
            name=upload["name"],
            class_name=None,
            id=None,
            base=f"/api/v1/uploads/{upload['upload']}",
            scope="",
            width=upload["width"],
            height=upload["height"],
        )

    def thumbnail(self, edge: int = EDGE) -> Shown:
        """Returns its thumbnail within `edge` x `edge` pixels."""
        scale = min(1, edge / max(self.width, self.height))
        scope = f"&{self.scope}" if self.scope else ""
        return Shown(
            address=f"{self.base}/thumbnail?edge={edge}{scope}",
            width=max(1, round(self.width * scale)),
            height=max(1, round(self.height * scale)),
        )

    @property
    def large(self) -> Shown:
        """Its thumbnail where it is asked with."""
        return self.thumbnail(LARGE_EDGE)

    @property
    def original(self) -> str:
        """The address of its file, where it is indexed and originals are served."""
        return f"/originals/{self.id}?{self.scope}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """An example that was added to the question, and the address without it."""

    sign: str
    what: str
    name: str
    thumbnail: str | None
    without: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FurtherValue:
    """A value of a filter beyond the first, and the address without it."""

    field: str
    value: str
    what: str
    name: str
    without: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskLinks:
    """The addresses of a question's further questions, in collections of these names."""

    question: Question
    names: Sequence[str]

    def image(self, hit: Neighbour) -> AskedImage:
        """Returns a neighbour's image."""
        return AskedImage.of_indexed(hit.payload, self.names)

    def ask(self, id_: str) -> str:
        """Returns the address that asks with an indexed image."""
        return self.question.keeping(KEPT).asking("id", id_).address

    def more_like(self, id_: str) -> str:
        """Returns the address with an image as a further example of what to find."""
        return self._first_page.removing("not", id_).adding("and", id_).address

    def less_like(self, id_: str) -> str:
        """Returns the address with an image as an example of what not to find."""
        return self._first_page.removing("and", id_).adding("not", id_).address

    def panel(self, name: str, id_: str) -> str:
        """Returns the address with an image in a panel, and the others closed."""
        return self.question.leaving(*PANELS).asking(name, id_).address

    @property
    def without_panels(self) -> str:
        """The address with all panels closed."""
        return self.question.leaving(*PANELS).address

    def page(self, offset: int) -> str:
        """Returns the address of the neighbours behind the first `offset`."""
        first = self.question.leaving("offset", *PANELS)
        return first.asking("offset", offset).address if offset > 0 else first.address

    def without(self, name: str) -> str:
        """Returns the address without a field."""
        return self._first_page.leaving(name).address

    def including_self(self) -> str:
        """Returns the address that keeps images with the same bytes."""
        return self._first_page.asking("include_self", "true").address

    def chips(self, names: Mapping[str, str]) -> list[Chip]:
        """Returns the examples of the question; `names` are those of images by what stands in the address."""
        kinds = (("+", "and", "More like"), ("\N{MINUS SIGN}", "not", "Less like"))
        return [
            Chip(
                sign=sign,
                what=what,
                name=names.get(value, value),
                thumbnail=self._thumbnail(value),
                without=self._first_page.removing(field, value).address,
            )
            for sign, field, what in kinds
            for value in self.question.values(field)
        ]

    def further(self, fields: Sequence[str]) -> list[FurtherValue]:
        """Returns the values of filters beyond the first of each, which its control shows."""
        return [
            FurtherValue(
                field=field,
                value=value,
                what=_FURTHER[field],
                name="no class" if value == NO_CLASS and "class" in field else value,
                without=self._first_page.removing(field, value).address,
            )
            for field in fields
            for value in dict.fromkeys(self.question.values(field)[1:])
            if value != self.question.value(field)
        ]

    @property
    def cleared(self) -> str:
        """The address without filters and choices."""
        return self.question.leaving(*CLEARED, "offset").address

    @property
    def hidden(self) -> list[tuple[str, str]]:
        """The fields that a form of filters sends along."""
        kept = (*IMAGES, "and", "not", "region", "include_self")
        return list(self.question.keeping(kept).pairs)

    @property
    def hidden_for_region(self) -> list[tuple[str, str]]:
        """The fields that the form of the region sends along."""
        return list(self.question.leaving("region", "offset", *PANELS).pairs)

    @property
    def _first_page(self) -> Question:
        return self.question.leaving("offset", *PANELS)

    def _thumbnail(self, value: str) -> str | None:
        if value.startswith(UPLOAD_PREFIX):
            return f"/api/v1/uploads/{quote(value.removeprefix(UPLOAD_PREFIX), safe='')}/thumbnail?edge=96"
        if not is_id(value):
            return None
        return f"/api/v1/images/{value}/thumbnail?edge=96&{_scope(self.names)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What can be chosen: collections, and the classes and datasets of the chosen ones with their counts."""

    collections: Sequence[ServedCollection]
    chosen: Sequence[str]
    classes: Mapping[str, int]
    datasets: Mapping[str, int]
    points: int | None
    is_cosine: bool
    is_narrowed: bool

    @classmethod
    def of(cls, served: ServedCollections, names: Sequence[str], question: Question) -> "Choices":
        """Returns the choices of a question in collections of these names."""
        known = served["collections"]
        chosen = [each for each in known if each["name"] in names]
        counts = [each["points"] for each in chosen if each["points"] is not None]
        return cls(
            collections=known,
            chosen=names,
            classes=_most([each["classes"] or {} for each in chosen]),
            datasets=_most([each["datasets"] or {} for each in chosen]),
            points=max(counts, default=None),
            is_cosine=all(each["distance"] == Distance.COSINE for each in chosen),
            is_narrowed=any(question.value(name) for name in CLEARED),
        )


_FURTHER = {"class": "or the class", "not_class": "nor the class", "folder": "or the folder"}
"""How a further value of a filter is introduced."""


def _scope(names: Sequence[str]) -> str:
    return urlencode([("collection", name) for name in names])


def _most(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Returns the largest count of each name in several collections, by name."""
    names = sorted({name for each in counts for name in each})
    return {name: max(each.get(name, 0) for each in counts) for name in names}
