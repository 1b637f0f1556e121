"""`aiosfu config`: show the settings that `aiosfu serve` would run with, or an example file."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from signaling.config import sources as config_sources
from signaling.config import text as config_text

if TYPE_CHECKING:
    import argparse

EXIT_OK = 0
EXIT_BAD_SETTING = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own flag and those of `aiosfu serve`."""
    parser.usage = "aiosfu config [--example] [--config FILE] [OPTION ...]"  # all would bury what is wrong with one
    parser.add_argument("--example", action="store_true", help="print a commented file with every setting instead")
    config_sources.add_arguments(parser)


async def run(arguments: argparse.Namespace) -> int:
    """Print; return the exit status."""
    if arguments.example:
        sys.stdout.write(config_text.example())
        return EXIT_OK
    try:
        loaded = config_sources.load(vars(arguments), os.environ)
    except config_sources.ConfigError as error:
        sys.stderr.write(f"aiosfu: {error}\n")
        return EXIT_BAD_SETTING
    sys.stdout.write(config_text.effective(loaded))
    for text in loaded.unknown_variables:
        sys.stderr.write(f"aiosfu: {text}\n")
    return EXIT_OK
