"""The command `objstore` (extra `cli`)."""

import sys

__all__ = ("main",)


def main() -> None:
    """Run the command given on the command line."""
    try:
        from faststream_objstore.cli.app import app  # noqa: PLC0415 - typer is an extra
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich", "click"}:
            raise
        sys.exit(
            "The command objstore needs typer and rich; install them with "
            "pip install 'faststream-objstore[cli]'."
        )
    app(prog_name="objstore")
