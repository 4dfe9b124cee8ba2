"""Found only where the compiled module of this name is missing, which Python prefers."""

import sys
from pathlib import Path

raise ImportError(
    f"{Path(__file__).parent}: expected kernels compiled for Python {sys.version_info.major}."
    f"{sys.version_info.minor}, got none: build them with `make build`; or, to use an installed "
    "hashgcn, run Python in a folder without one of that name"
)
