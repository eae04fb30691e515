"""The options that stand before the command: the server, and how to log in to it."""

import os
import ssl
from pathlib import Path
from typing import Annotated, Any

import typer

from faststream_objstore.cli.session import Session, usage

__all__ = ("add_options",)


def _file(variable: str, said: str) -> Any:
    return typer.Option(envvar=variable, exists=True, dir_okay=False, help=said)


def options(
    context: typer.Context,
    server: Annotated[
        str,
        typer.Option(
            "--server",
            "-s",
            help="The server's address.  [env: NATS_URL; default: nats://127.0.0.1:4222]",
        ),
    ] = "",
    creds: Annotated[
        Path | None, _file("NATS_CREDS", "A credentials file, with a JWT and its seed.")
    ] = None,
    nkey: Annotated[
        Path | None, _file("NATS_NKEY", "A file with the seed of an nkey.")
    ] = None,
    user: Annotated[str | None, typer.Option(envvar="NATS_USER")] = None,
    password: Annotated[str | None, typer.Option(envvar="NATS_PASSWORD")] = None,
    tlsca: Annotated[
        Path | None, _file("NATS_CA", "The authorities that the server is to be signed by.")
    ] = None,
    tlscert: Annotated[Path | None, _file("NATS_CERT", "The client's certificate.")] = None,
    tlskey: Annotated[Path | None, _file("NATS_KEY", "Its private key.")] = None,
    domain: Annotated[
        str, typer.Option("--js-domain", envvar="NATS_JS_DOMAIN", help="A JetStream domain.")
    ] = "",
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for one step.")] = 10.0,
) -> None:
    """Take what stands before the command."""
    # Not `envvar`: a variable that is empty is as good as none.
    address = server or os.environ.get("NATS_URL") or "nats://127.0.0.1:4222"
    given = {
        "user_credentials": creds and str(creds),
        "nkeys_seed": nkey and str(nkey),
        "user": user,
        "password": password,
        "tls": _tls(tlsca, tlscert, tlskey),
    }
    context.obj = Session(
        server=address,
        timeout=timeout,
        options={key: value for key, value in given.items() if value is not None},
        domain=domain,
    )


def _tls(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if (certificate is None) != (key is None):
        usage("--tlscert and --tlskey go together")
    if ca is None and certificate is None:
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except OSError as error:
        usage(f"--tlsca, --tlscert or --tlskey cannot be used: {error}")
    return context


def add_options(app: typer.Typer) -> None:
    """Add these options to the program."""
    app.callback()(options)
