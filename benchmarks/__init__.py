"""Measurements of mlcache beside its peers: ``python -m benchmarks --list``.

A benchmark is a module here with a first docstring line that says what it measures and a function
``run(quick) -> Report``; ``__main__.py`` names them all. `harness.py` measures, `report.py` tells.
"""
