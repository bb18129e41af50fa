"""The view `/browse`: the classes of a collection, and the images of one, page by page."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lookalike_search.serving.bodies import address_fields
from lookalike_search.serving.image_order import ImageGroup
from lookalike_search.serving.indexed_images import MOST_OFFSET, read_wanted
from lookalike_search.serving.pages.site import Site

PER_PAGE = 100
"""Images on a page; a script that scrolls takes so many at once, in a task well under 50 ms."""

CLASSES_PER_PAGE = 1_000


def routes(site: Site) -> list[Route]:
    """Returns the addresses of this view."""
    view = _Browse(site=site)
    return [Route("/browse", site.answering(view.show))]


class Extent(StrEnum):
    """Which images are shown where no class is named."""

    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassOfImages:
    """A class in the list of classes: how many images it has, and the id of one; no class has no name."""

    name: str
    count: int
    image: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A link that chooses a dataset, or all; `name` is `""` for all."""

    name: str
    count: int
    address: str
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Browse:
    """Answers the addresses of this view."""

    site: Site

    async def show(self, request: Request) -> Response:
        """Shows the images of a class or of all (`images=all`), else the classes."""
        if "class" in request.query_params or "images" in request.query_params:
            return await self._show_images(request)
        return await self._show_classes(request)

    async def _show_classes(self, request: Request) -> Response:
        fields = address_fields(request.query_params)
        named, dataset = fields.texts("collection"), fields.text("dataset") or None
        words = (fields.text("q") or "").strip()
        number = fields.whole("page", 1, low=1, high=MOST_OFFSET)
        fields.require_all_read()
        collection = await self.site.choose_collection(request)
        groups = await self.site.service.groups([collection])
        kept: dict[str, object] = {"collection": named, "dataset": dataset}
        every = await asyncio.to_thread(list_classes, groups, dataset=dataset, kept=kept)
        found = [each for each in every if words.casefold() in (each.name or "no class").casefold()]
        first = (number - 1) * CLASSES_PER_PAGE
        return await asyncio.to_thread(
            self.site.render,
            request,
            "browse.html",
            view="browse",
            collection=collection,
            named=named,
            served=await self.site.link_collections(request, collection),
            dataset=dataset,
            words=words,
            total=sum(each.count for each in every),
            class_count=sum(each.name != "" for each in every),
            found=len(found),
            classes=found[first : first + CLASSES_PER_PAGE],
            datasets=_list_datasets(groups, dataset, {"collection": named}),
            every_image=_address(kept | {"images": "all"}),
            earlier=_address(kept | {"q": words, "page": number - 1}) if number > 1 else "",
            later=_address(kept | {"q": words, "page": number + 1})
            if first + CLASSES_PER_PAGE < len(found)
            else "",
        )

    async def _show_images(self, request: Request) -> Response:
        fields = address_fields(request.query_params)
        named, wanted = fields.texts("collection"), read_wanted(fields, limit=PER_PAGE)
        class_name, dataset = wanted.class_name, wanted.dataset
        fields.choice("images", Extent)
        fields.require_all_read()
        collection = await self.site.choose_collection(request)
        listed = await self.site.service.images([collection], wanted)
        groups = await self.site.service.groups([collection])
        scope: dict[str, object] = {"collection": named}
        kept = scope | ({"images": "all"} if class_name is None else {"class": class_name})
        of_class = [group for group in groups if class_name in (None, group.class_name)]
        own = kept | {"dataset": dataset}
        start = listed["offset"]
        return await asyncio.to_thread(
            self.site.render,
            request,
            "browse_images.html",
            view="browse",
            collection=collection,
            class_name=class_name,
            dataset=dataset,
            listed=listed,
            scope_fields="".join(f"&{urlencode({'collection': name})}" for name in named),
            datasets=_list_datasets(of_class, dataset, kept),
            classes_address=_address(scope | {"dataset": dataset}),
            address=_address(own),
            per_page=PER_PAGE,
            earlier=_address(own | {"offset": max(0, start - PER_PAGE)}) if start else "",
            later=_address(own | {"after": listed["next"]}) if listed["next"] else "",
        )


def list_classes(
    groups: Sequence[ImageGroup], *, dataset: str | None, kept: Mapping[str, object]
) -> list[ClassOfImages]:
    """Returns the classes by name, those of all datasets together; images without a class come last."""
    counts: dict[str, int] = {}
    images: dict[str, str] = {}
    for group in groups:
        if dataset in (None, group.dataset):
            counts[group.class_name] = counts.get(group.class_name, 0) + group.count
            images.setdefault(group.class_name, group.first_id)
    return [
        ClassOfImages(
            name=name, count=counts[name], image=images[name], address=_address({**kept, "class": name})
        )
        for name in sorted(counts, key=lambda name: (not name, name.casefold(), name))
    ]


def _list_datasets(
    groups: Sequence[ImageGroup], chosen: str | None, kept: Mapping[str, object]
) -> list[Choice]:
    """Returns the links of the datasets, none where there is only one."""
    counts: dict[str, int] = {}
    for group in groups:
        counts[group.dataset] = counts.get(group.dataset, 0) + group.count
    if len(counts) < 2:  # noqa: PLR2004 - there is nothing to choose
        return []
    every = {"": sum(counts.values()), **counts}
    return [
        Choice(
            name=name,
            count=count,
            address=_address({**kept, "dataset": name or None}),
            is_chosen=name == (chosen or ""),
        )
        for name, count in every.items()
    ]


def _address(fields: Mapping[str, object]) -> str:
    """Returns the address of this view with fields; None and no names are left out."""
    query = urlencode(
        [(name, value) for name, value in fields.items() if value not in (None, [])], doseq=True
    )
    return f"/browse?{query}" if query else "/browse"
