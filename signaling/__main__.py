"""`python -m signaling` is the `aiosfu` command."""

import sys

from .cli import main

sys.exit(main())
