"""The `search query` command."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from lookalike_core.cli.console import Reporter, StderrReporter, Verbose, say, show, show_drawing, show_json
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
from lookalike_core.errors import PictureError, UsageError
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.images.scan import OtherFiles
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.outputs import PAGE_SUFFIXES, output_path
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.protocol import Store

from lookalike_search.asking.answers import Answer, QueryOptions, Unanswered
from lookalike_search.asking.examples import Example, ExampleSet
from lookalike_search.asking.query import Searcher
from lookalike_search.asking.query_sources import STDIN, Source
from lookalike_search.collection_choice import choose_both, choose_collection, is_both, require_dataset
from lookalike_search.commands.answer_format import answer_json, answer_lines
from lookalike_search.commands.half_blocks import ColourSystem, colours, illustrated
from lookalike_search.commands.search_options import (
    BackbonesOption,
    ClassOption,
    CollectionsOption,
    DatasetOption,
    DistanceOption,
    HeadOption,
    VotersOption,
)


def query(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE",
            help="Pictures, folders of them, ids or paths of indexed ones; - reads one from stdin.",
        ),
    ],
    positives: Annotated[
        list[str] | None,
        typer.Option("--and", metavar="IMAGE", help="One more example of what is wanted; may be repeated."),
    ] = None,
    negatives: Annotated[
        list[str] | None,
        typer.Option("--not", metavar="IMAGE", help="An example of what is not wanted; may be repeated."),
    ] = None,
    collection: CollectionsOption = None,
    backbone: BackbonesOption = None,
    distance: DistanceOption = None,
    head: HeadOption = None,
    fusion: Annotated[
        FusionRule | None, typer.Option("--fusion", help="How several rankings become one; default: rrf.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, metavar="N", help="How many neighbours.")
    ] = 10,
    class_name: ClassOption = None,
    dataset: DatasetOption = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare with every picture, past the index.")
    ] = False,
    include_self: Annotated[
        bool,
        typer.Option("--include-self", help="Keep pictures whose bytes equal the query's or an example's."),
    ] = False,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    vote: Annotated[
        VoteRule, typer.Option("--vote", help="How the neighbours' classes become a verdict.")
    ] = VoteRule.NEARER_TIES,
    k: VotersOption = 10,
    html: HtmlOption = None,
    no_thumbnails: Annotated[
        bool, typer.Option("--no-thumbnails", help="Only text, in a terminal with colours, too.")
    ] = False,
    provider: ProviderOption = None,
    threads: ThreadsOption = None,
    require_gpu: RequireGpuOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Print the nearest neighbours of each picture, best first."""
    asked = [*images, *(positives or []), *(negatives or [])]
    if asked.count(STDIN) > 1:
        raise UsageError("standard input can be read once; name - once")
    options = QueryOptions(
        limit=limit,
        class_name=class_name,
        dataset=dataset,
        exact=exact,
        include_self=include_self,
        max_pixels=max_pixels,
        vote=vote,
        k=k,
        fusion=fusion or FusionRule.RRF,
    )
    page = output_path(html, "--html", PAGE_SUFFIXES) if html is not None else None
    settings = Settings.from_environment().on_provider(provider, require_gpu=require_gpu, threads=threads)
    reporter = StderrReporter()
    with store_in_use(store, settings, reporter) as opened:
        names = _chosen(opened, settings, reporter, collection or [], backbone, distance, head)
        if fusion is not None and len(names) == 1:
            raise UsageError("--fusion is for several collections; say --backbone both, or leave it out")
        with Searcher.opened(*names, store=opened, settings=settings, reporter=reporter) as searcher:
            reporter.say(f"collection: {', '.join(names)}")
            require_dataset([network.manifest for network in searcher.networks], dataset)
            session = _Session(searcher, options, store=opened.label, as_json=as_json)
            session.is_kept = page is not None
            session.colours = None if as_json or no_thumbnails else colours()
            session.answer_all(images, positives or [], negatives or [])
            manifests = [network.manifest for network in searcher.networks]
    if page is not None:
        _write_page(page, session.outcomes, manifests, options, reporter)
    if session.failed:
        raise typer.Exit(PictureError.exit_code)


def _chosen(
    store: Store,
    settings: Settings,
    reporter: Reporter,
    named: Sequence[str],
    backbone: str | None,
    distance: Distance | None,
    head: str | None,
) -> list[str]:
    """The collections to ask; several are fused."""
    if is_both(backbone):
        if named or head:
            raise UsageError("--collection or --head names what to search; leave --backbone both out")
        return choose_both(store, settings=settings, reporter=reporter, distance=distance)
    return [
        choose_collection(
            store,
            settings=settings,
            reporter=reporter,
            name=name,
            backbone=backbone,
            distance=distance,
            head=head,
        )
        for name in dict.fromkeys(named) or [None]
    ]


def _write_page(
    path: Path,
    outcomes: Sequence[Answer | Unanswered],
    manifests: Sequence[CollectionManifest],
    options: QueryOptions,
    reporter: Reporter,
) -> None:
    from lookalike_search.reports.query import query_report, write_query_page

    report = query_report(outcomes, manifests, options)
    write_query_page(path, report, max_pixels=options.max_pixels, reporter=reporter)


class _Session:
    """One run of the command; `failed` says whether a picture could not be read.

    `outcomes` are, where that `is_kept`, the answers and what could not be answered. `colours` are those that
    thumbnails are shown in.
    """

    def __init__(self, searcher: Searcher, options: QueryOptions, *, store: str, as_json: bool) -> None:
        self.failed = False
        self.is_kept = False
        self.outcomes: list[Answer | Unanswered] = []
        self.colours: ColourSystem | None = None
        self._searcher = searcher
        self._options = options
        self._store = store
        self._as_json = as_json

    def answer_all(self, images: Sequence[str], positives: Sequence[str], negatives: Sequence[str]) -> None:
        """Names are looked up before anything is read, so that a wrong one is known at once."""
        wanted, unwanted = self._found(positives), self._found(negatives)
        sources = [source for image in images for source in self._find(image)]
        ands, nots = self._examples(wanted), self._examples(unwanted)
        for source, read in zip(sources, self._searcher.read_all(sources, self._options), strict=True):
            self._answer(source, read, ands, nots)

    def _find(self, name: str) -> list[Source]:
        others = OtherFiles()
        found = self._searcher.find(name, dataset=self._options.dataset, others=others)
        if others.total:
            say(f"{name}: {others}")
        return found

    def _found(self, names: Sequence[str]) -> dict[str, list[Source]]:
        return {name: self._find(name) for name in names}

    def _examples(self, found: dict[str, list[Source]]) -> ExampleSet:
        examples = [example for sources in found.values() for example in self._read(sources)]
        return ExampleSet(names=list(found), examples=examples)

    def _read(self, sources: Sequence[Source]) -> Iterator[Example]:
        """What was named must be readable; of a folder, at least one picture."""
        missing = 0
        for read in self._searcher.read_all(sources, self._options):
            if not isinstance(read, PictureError):
                yield read
                continue
            missing += 1
            if missing == len(sources):
                raise read
            self._say_failed(read)

    def _answer(
        self, source: Source, read: Example | PictureError, positives: ExampleSet, negatives: ExampleSet
    ) -> None:
        searcher, options = self._searcher, self._options
        if isinstance(read, PictureError):
            self._leave_out(source, read)
            return
        try:
            answer = searcher.answer(read, options, positives=positives, negatives=negatives)
        except PictureError as error:
            self._leave_out(source, error)
            return
        self._keep(answer)
        manifests = [network.manifest for network in searcher.networks]
        if self._as_json:
            show_json(answer_json(answer, manifests, self._store, options))
        else:
            self._show_table(answer, list(answer_lines(answer, manifests, options)))

    def _leave_out(self, source: Source, error: PictureError) -> None:
        if self._as_json:
            show_json({"schema": 1, "query": source.name, "error": error.reason})
        self._say_failed(error)
        self._keep(Unanswered(query=source.name, file=source.file, problem=str(error)))

    def _keep(self, outcome: Answer | Unanswered) -> None:
        if self.is_kept:
            self.outcomes.append(outcome)

    def _show_table(self, answer: Answer, lines: Sequence[str]) -> None:
        if self.colours is None:
            show(*lines)
            return
        files = [hit.file for hit in answer.hits]
        show_drawing(illustrated(lines, answer.file, files, self.colours))

    def _say_failed(self, error: PictureError) -> None:
        self.failed = True
        say(f"error: {error}")
