"""The verb that serves: here until interrupted, or on a cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.options import (
    CALIBRATE,
    HOME,
    Base,
    Cluster,
    CredentialsChain,
    CredentialsKey,
    Mark,
    RecipePath,
    credential_files,
    load,
    load_here,
    settings_of,
)
from pipelines.files import check_appended
from pipelines.recipe import DEFAULT_RECIPE

if TYPE_CHECKING:
    from fairgen.provenance import CredentialFiles

serve_app = typer.Typer()
_LISTEN = "Where to listen here; on a cluster the Serve config says."


@serve_app.command()
def serve(
    recipe: RecipePath = DEFAULT_RECIPE,
    base: Base = None,
    host: Annotated[str, typer.Option(help=_LISTEN)] = "127.0.0.1",
    port: Annotated[int, typer.Option(help=_LISTEN, min=1, max=65535)] = 8000,
    replicas: Annotated[int, typer.Option(help="Most generator replicas.", min=1)] = 1,
    max_rows: Annotated[
        int | None, typer.Option(help="Denoiser rows a pass; none is measured on a CPU.", min=2)
    ] = None,
    calibrate: Annotated[bool, typer.Option(help=CALIBRATE)] = False,
    keys_file: Annotated[
        Path | None, typer.Option(help="API keys, one a line; read again when it changes.")
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(help="Most requests of one key a minute.", min=1)
    ] = None,
    concurrent_requests: Annotated[
        int | None, typer.Option(help="Most requests of one key at once.", min=1)
    ] = None,
    cors_origin: Annotated[
        list[str] | None, typer.Option(help="A web page that may read answers; repeatable.")
    ] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="A name that it answers to; repeatable.")
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(help="A proxy's address whose X-Forwarded-For is believed; repeatable."),
    ] = None,
    is_open: Annotated[
        bool, typer.Option("--open", help="Let everybody ask, without keys, beyond this machine.")
    ] = False,
    decisions: Annotated[
        Path | None, typer.Option(help="A file that gets a line a request: what was decided.")
    ] = None,
    inspect_share: Annotated[
        float,
        typer.Option(help="Share of the pictures that the judge looks at.", min=0, max=1),
    ] = 0.0,
    models: Annotated[
        Path | None, typer.Option(help="YAML with names for clients, such as gpt-image-1.")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="Serve HTTPS: the chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Serve HTTPS: the private key.")] = None,
    credentials: CredentialsChain = None,
    credentials_key: CredentialsKey = None,
    mark: Mark = False,
    cluster: Cluster = None,
) -> None:
    """Serve the registry's champions behind the OpenAI Images API: here until interrupted, or on a
    cluster, as its Serve config says.
    """
    from rich.console import Console

    signing = credential_files(credentials, credentials_key)
    if cluster is None:
        if signing is not None:
            _show_signer(signing)
        loaded = load_here(recipe, base)
    else:
        loaded = load(recipe, base)
    from pipelines.serve import (
        AccessConfig,
        Limits,
        ServeSettings,
        Tls,
        check_aliases,
        check_marked_sizes,
        check_open,
        deploy,
        read_aliases,
        serve_config,
        serve_until_interrupted,
    )

    if mark:
        check_marked_sizes(loaded.generation)
    aliases = read_aliases(models) if models else {}
    check_aliases(aliases, loaded.attributes, Limits().num_steps)
    if decisions is not None and cluster is None:
        check_appended("decisions", decisions)
    changes: dict[str, Any] = {
        "max_replicas": replicas,
        "max_rows": max_rows,
        "calibrate": calibrate,
        "decisions": decisions.resolve() if decisions else None,
        "inspect_share": inspect_share,
        "credentials": signing,
        "mark": mark,
        "models": aliases,
        "access": AccessConfig(
            keys_file=keys_file.resolve() if keys_file else None,
            requests_per_minute=requests_per_minute,
            concurrent_requests=concurrent_requests,
            cors_origins=tuple(cors_origin or ()),
            hosts=tuple(name.lower() for name in allowed_host or ()),
        ),
    }
    if cluster is not None:
        if tls_certificate or tls_key:
            raise ValueError("tls: on a cluster it stands in the Serve config's http_options")
        there = ServeSettings(recipe=recipe, base=base, **changes)
        deploy(cluster, serve_config(there), typer.echo)
        return
    check_open(changes["access"], host, is_open)
    tls = None
    if tls_certificate or tls_key:
        tls = Tls.of(tls_certificate, tls_key)
    settings = settings_of(recipe, base, **changes)
    serve_until_interrupted(settings, HOME, host, port, Console(), tls, trusted_proxy or ())


def _show_signer(files: "CredentialFiles") -> None:
    """Say who will sign. Raises ValueError for credentials that cannot, before anything starts."""
    from fairgen.provenance import TEST_CHAIN, Credentials

    found = Credentials.read(files)
    typer.echo(f"Pictures are signed by {found.subject} until {found.expires:%Y-%m-%d %H:%M} UTC.")
    if TEST_CHAIN in found.issuer:
        typer.secho("A test chain proves nothing about who has signed.", fg="red", err=True)
