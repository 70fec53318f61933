"""``python -m providers.sandbox``: the sandbox without Django."""

from __future__ import annotations

import argparse

from providers.sandbox.cli import add_arguments, run


def announce(text: str) -> None:
    """Prints at once, also into a pipe."""
    print(text, flush=True)  # noqa: T201 - a command speaks by printing


def main() -> None:
    """Parses the arguments and runs."""
    parser = argparse.ArgumentParser(prog="sandbox", description=__doc__)
    add_arguments(parser)
    run(vars(parser.parse_args()), announce)


main()
