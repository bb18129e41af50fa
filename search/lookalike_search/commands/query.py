"""The `search query` command."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Annotated

import typer
from lookalike_core.cli.console import Verbose, say, show, show_drawing, show_json
from lookalike_core.cli.hint_words import full_message
from lookalike_core.cli.options import (
    HtmlOption,
    JsonOption,
    MaxPixelsOption,
    ProviderOption,
    RequireGpuOption,
    StoreOption,
    ThreadsOption,
    store_in_use,
)
from lookalike_core.errors import ImageError, SkipReason, UsageError
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.images.region import Region
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.outputs import PAGE_SUFFIXES, check_output_path
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.point_filters import make_filter

from lookalike_search.asking.answer_json import answer_json, unanswered_json
from lookalike_search.asking.answers import Answer, QueryOptions, Unanswered
from lookalike_search.asking.choice import HitChoice
from lookalike_search.asking.query import Searcher
from lookalike_search.asking.query_batch import answer_all
from lookalike_search.asking.ranking import MAX_LIMIT, MAX_OFFSET
from lookalike_search.collection_choice import CollectionSelector
from lookalike_search.commands.answer_format import answer_lines, left_out_line
from lookalike_search.commands.half_blocks import ColourSystem, illustrate, stdout_colours
from lookalike_search.commands.path_output import Print0Option, require_one_output, show_files
from lookalike_search.commands.search_options import (
    BackbonesOption,
    ClassesOption,
    CollectionsOption,
    ConfidenceOption,
    DatasetOption,
    DistanceOption,
    DiverseOption,
    FoldersOption,
    FoldNearOption,
    HeadOption,
    MinChanceOption,
    MinWidthOption,
    NearAboveOption,
    NotClassesOption,
    OnePerOption,
    RegionOption,
    SinceOption,
    UntilOption,
    VotersOption,
    number_option,
)
from lookalike_search.commands.standard_input import query_of, require_one_stdin


def query(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...",
            help="Image files, folders of them, ids or paths of indexed images; - reads one from stdin.",
        ),
    ],
    positives: Annotated[
        list[str] | None,
        typer.Option("--and", metavar="IMAGE", help="Another example of what to find; may be repeated."),
    ] = None,
    negatives: Annotated[
        list[str] | None,
        typer.Option("--not", metavar="IMAGE", help="An example of what not to find; may be repeated."),
    ] = None,
    collection: CollectionsOption = None,
    backbone: BackbonesOption = None,
    distance: DistanceOption = None,
    head: HeadOption = None,
    fusion: Annotated[
        FusionRule | None, typer.Option("--fusion", help="How several rankings become one; default: rrf.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=MAX_LIMIT, metavar="N", help="Number of neighbours.")
    ] = 10,
    offset: Annotated[
        int,
        typer.Option(
            "--offset",
            min=0,
            max=MAX_OFFSET,
            metavar="N",
            help="Skip the N nearest, which earlier pages have shown.",
        ),
    ] = 0,
    min_score: Annotated[
        float | None,
        number_option(
            "--min-score",
            "Only neighbours of at least this cosine similarity; others do not vote either.",
            metavar="SIMILARITY",
            least=-1,
            most=1,
        ),
    ] = None,
    max_distance: Annotated[
        float | None,
        number_option(
            "--max-distance",
            "Only neighbours within this Euclidean distance; others do not vote either.",
            metavar="DISTANCE",
            least=0,
        ),
    ] = None,
    classes: ClassesOption = None,
    not_classes: NotClassesOption = None,
    dataset: DatasetOption = None,
    folders: FoldersOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    min_width: MinWidthOption = None,
    exact: Annotated[bool, typer.Option("--exact", help="Exact search, without the index.")] = False,
    include_self: Annotated[
        bool,
        typer.Option("--include-self", help="Keep images with the same bytes as the query or an example."),
    ] = False,
    without_near: FoldNearOption = False,
    near_above: NearAboveOption = NEAR_ABOVE,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    vote: Annotated[
        VoteRule, typer.Option("--vote", help="How the classes of the neighbours become a verdict.")
    ] = VoteRule.NEARER_TIES,
    k: VotersOption = 10,
    confidence: ConfidenceOption = None,
    paths: Annotated[
        bool, typer.Option("--paths", help="Print only the paths of the files found, one per line.")
    ] = False,
    print0: Print0Option = False,
    html: HtmlOption = None,
    no_thumbnails: Annotated[
        bool, typer.Option("--no-thumbnails", help="Show no thumbnails in the terminal.")
    ] = False,
    provider: ProviderOption = None,
    threads: ThreadsOption = None,
    require_gpu: RequireGpuOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
    region: RegionOption = None,
    locate: Annotated[
        bool,
        typer.Option("--locate", help="Show where in each neighbour the similarity comes from."),
    ] = False,
    min_chance: MinChanceOption = None,
    one_per: OnePerOption = None,
    diverse: DiverseOption = 0.0,
) -> None:
    """Print the nearest neighbours of each image, best first."""
    require_one_stdin([*images, *(positives or []), *(negatives or [])], "name - once")
    require_one_output(paths=paths, print0=print0, as_json=as_json)
    if (paths or print0) and html is None:
        if confidence is not None:
            raise UsageError(
                "--paths and --print0 print no prediction set; leave --confidence out, or add --html"
            )
        if locate:
            raise UsageError(
                "--paths and --print0 do not print where a similarity comes from; leave --locate out, or "
                "add --html"
            )
    where = make_filter(
        classes=classes or (),
        not_classes=not_classes or (),
        dataset=dataset,
        folders=folders or (),
        since=since,
        until=until,
        min_width=min_width,
    )
    options = QueryOptions(
        limit=limit,
        offset=offset,
        min_score=min_score,
        max_distance=max_distance,
        where=where,
        exact=exact,
        include_self=include_self,
        max_pixels=max_pixels,
        vote=vote,
        k=k,
        fusion=fusion or FusionRule.RRF,
        without_near_above=near_above if without_near else None,
        confidence=confidence,
        region=Region.parse(region) if region is not None else None,
        locate=locate,
        choice=HitChoice(min_chance=min_chance, one_per=one_per, diverse=diverse),
    )
    page = check_output_path(html, "--html", PAGE_SUFFIXES) if html is not None else None
    settings = Settings.from_environment().with_provider(provider, require_gpu=require_gpu, threads=threads)
    selector = CollectionSelector(names=collection or (), backbone=backbone, distance=distance, head=head)
    with store_in_use(store, settings) as opened:
        names = selector.resolve(opened, settings=settings)
        if fusion is not None and len(names) == 1:
            raise UsageError("--fusion is for several collections; pass --backbone both, or leave it out")
        with Searcher.opened(*names, store=opened, settings=settings) as searcher:
            say(f"collection: {', '.join(names)}")
            if locate:
                from lookalike_search.analysis.locating import require_locatable

                require_locatable(searcher.networks)
            manifests = [network.manifest for network in searcher.networks]
            display = _Display(
                manifests=manifests,
                options=options,
                store=opened.label,
                form=_form(paths=paths, print0=print0, as_json=as_json),
                colours=None if no_thumbnails else stdout_colours(),
            )
            named = _Named(images=images, positives=positives or (), negatives=negatives or ())
            outcomes, is_complete = _show_all(searcher, named, display, keeps=page is not None)
    if page is not None:
        _write_page(page, outcomes, manifests, options)
    if not is_complete:
        raise typer.Exit(ImageError.exit_code)


def _write_page(
    path: Path,
    outcomes: Sequence[Answer | Unanswered],
    manifests: Sequence[CollectionManifest],
    options: QueryOptions,
) -> None:
    from lookalike_search.reports.query import query_page

    query_page(outcomes, manifests, options).write(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """The names of queries and of positive and negative examples on the command line."""

    images: Sequence[str]
    positives: Sequence[str]
    negatives: Sequence[str]


def _show_all(
    searcher: Searcher, named: _Named, display: "_Display", *, keeps: bool
) -> tuple[list[Answer | Unanswered], bool]:
    """Prints each outcome at once; returns all if it `keeps` them, and whether all images could be read."""
    unread: list[SkipReason] = []

    def leave_out(error: ImageError) -> None:
        unread.append(error.reason)
        say(f"error: {full_message(error)}")

    outcomes = []
    for outcome in answer_all(
        searcher,
        [query_of(name) for name in named.images],
        display.options,
        positives=[query_of(name) for name in named.positives],
        negatives=[query_of(name) for name in named.negatives],
        on_other_files=lambda folder, others: say(f"{folder}: {others}"),
        on_left_out=leave_out,
    ):
        if display.options.locate and isinstance(outcome, Answer):
            from lookalike_search.analysis.locating import locate_neighbours

            outcome = locate_neighbours(  # noqa: PLW2901 - the same answer with more in it
                outcome, searcher.networks[0], max_pixels=display.options.max_pixels
            )
        display.show(outcome)
        if isinstance(outcome, Unanswered):
            leave_out(outcome.error)
        if keeps:
            outcomes.append(outcome)
    return outcomes, not unread


class _Form(Enum):
    """The form in which answers are printed."""

    TABLE = auto()
    JSON = auto()
    PATHS = auto()
    PRINT0 = auto()


def _form(*, paths: bool, print0: bool, as_json: bool) -> _Form:
    if as_json:
        return _Form.JSON
    if print0:
        return _Form.PRINT0
    return _Form.PATHS if paths else _Form.TABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Display:
    """Prints outcomes; `colours` are those of the terminal's thumbnails, None for no thumbnails."""

    manifests: Sequence[CollectionManifest]
    options: QueryOptions
    store: str
    form: "_Form"
    colours: ColourSystem | None

    def show(self, outcome: Answer | Unanswered) -> None:
        """Prints an outcome on stdout; a query that could not be answered is printed only as JSON."""
        if isinstance(outcome, Answer):
            self._show_answer(outcome)
        elif self.form is _Form.JSON:
            show_json(unanswered_json(outcome))

    def _show_answer(self, answer: Answer) -> None:
        match self.form:
            case _Form.JSON:
                show_json(answer_json(answer, self.manifests, self.store, self.options))
            case _Form.PATHS | _Form.PRINT0:
                self._show_files(answer)
            case _Form.TABLE:
                self._show_table(answer)

    def _show_files(self, answer: Answer) -> None:
        """Prints the paths of hits on stdout, and everything else on stderr."""
        show_files((hit.file for hit in answer.hits if hit.file), print0=self.form is _Form.PRINT0)
        if unknown := sum(hit.file is None for hit in answer.hits):
            say(f"left out, since no file path is known of them: {unknown} of {len(answer.hits)} images")
        if answer.left_out:
            say(left_out_line(answer))

    def _show_table(self, answer: Answer) -> None:
        lines = list(answer_lines(answer, self.manifests, self.options))
        if self.colours is None:
            show(*lines)
            return
        files = [hit.file for hit in answer.hits]
        show_drawing(illustrate(lines, answer.file, files, self.colours))
