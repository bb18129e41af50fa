"""The `search serve` command."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer
from lookalike_core.cli.console import Verbose, say, show
from lookalike_core.cli.interrupt import stopping_on_signals
from lookalike_core.cli.options import (
    ProviderOption,
    RequireGpuOption,
    StoreOption,
    ThreadsOption,
    store_in_use,
)
from lookalike_core.errors import UsageError
from lookalike_core.settings import Settings

from lookalike_search.commands.search_options import CollectionsOption
from lookalike_search.commands.web_browser import open_page

if TYPE_CHECKING:
    from lookalike_search.serving.access import Access

PORT = 8756

_SHORT = 16
"""The length below which a token can be guessed."""


def serve(
    collection: CollectionsOption = None,
    host: Annotated[
        str,
        typer.Option("--host", metavar="HOST", help="Address to listen on; all but loopback need a token."),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65_535, metavar="N", help="Port to listen on; 0 is a free one."),
    ] = PORT,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="TOKEN",
            help="What clients have to show; LOOKALIKE_TOKEN hides it from others.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Another name of this server; may be repeated."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin", metavar="ORIGIN", help="An origin whose pages may ask; may be repeated."
        ),
    ] = None,
    originals: Annotated[
        bool, typer.Option("--originals", help="Serve the files of indexed images, not only thumbnails.")
    ] = False,
    opens: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    provider: ProviderOption = None,
    threads: ThreadsOption = None,
    require_gpu: RequireGpuOption = False,
    store: StoreOption = None,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Serve the page and an HTTP API.

    Collections stay open, and models loaded.
    """
    settings = Settings.from_environment().with_provider(provider, require_gpu=require_gpu, threads=threads)
    access = _access(host, token or settings.token, allow_host or (), allow_origin or ())
    from lookalike_search.commands.job_commands import job_command
    from lookalike_search.serving.run import Serving, open_serving
    from lookalike_search.serving.server import listen, url_of

    with ExitStack() as stack:
        serving = Serving(
            access=access,
            settings=settings,
            serves_originals=originals,
            job_command=job_command(store),
        )
        socket = stack.enter_context(listen(host, port, limits=serving.limits))
        opened = stack.enter_context(store_in_use(store, settings))
        server, networks = stack.enter_context(open_serving(serving, opened, collection or ()))
        say(f"collection: {', '.join(network.name for network in networks)}")

        def announce() -> None:
            show(f"ready: {url_of(socket)}")
            if opens:
                open_page(url_of(socket))

        with stopping_on_signals(server.stop):
            server.run(socket, on_ready=announce)
    say("stopped; all requests are answered")


def _access(
    host: str, token: str | None, hosts: list[str] | tuple[()], origins: list[str] | tuple[()]
) -> "Access":
    from lookalike_search.serving.access import Access, is_loopback

    if token is None and not is_loopback(host):
        raise UsageError(f"--host {host} can be reached from other machines; set a token in LOOKALIKE_TOKEN")
    if token is not None and len(token) < _SHORT:
        say(f"warning: a token of fewer than {_SHORT} characters can be guessed")
    return Access(
        host=host,
        token=token,
        hosts=frozenset(name.lower() for name in hosts),
        origins=frozenset(origin.lower().rstrip("/") for origin in origins),
    )
