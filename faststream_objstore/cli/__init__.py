"""The command `objstore` (extra `cli`)."""

import io
import os
import signal
import sys
from pathlib import Path

__all__ = ("main",)


def main() -> None:
    """Run the command given on the command line."""
    # Until there is something to clear away, Ctrl-C ends it without a word.
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from faststream_objstore.cli.app import app  # noqa: PLC0415 - typer is an extra
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich", "click"}:
            raise
        sys.exit(
            "The command objstore needs typer and rich; install them with "
            "pip install 'faststream-objstore[cli]'."
        )
    if sys.stderr is None:
        # It is closed; `print` would take the standard output instead.
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - until the program ends
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks is shown escaped.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGINT, interrupt)
    app(prog_name="objstore")
