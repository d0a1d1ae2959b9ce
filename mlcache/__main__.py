"""``python -m mlcache``: the ``mlcache`` command."""

from __future__ import annotations

from mlcache.cli import main

if __name__ == "__main__":
    main()
