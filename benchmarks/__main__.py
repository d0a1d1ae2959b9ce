"""``python -m benchmarks NAME [--quick] [--json FILE]``, ``python -m benchmarks --list``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

NAMES = ("hits", "keys", "backends", "stampede", "offload", "batch")


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(f"{name:10} {_about(name)}" for name in NAMES))
        return 0
    if not options.name:
        parser.error("say which benchmark; --list shows them all")
    report = import_module(f"benchmarks.{options.name}").run(quick=options.quick)
    if options.quick:  # one sample of each says nothing of targets
        report = replace(report, targets=())
    print(report.text())
    if options.json:
        report.write_json(options.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description="Compare mlcache with its peers.")
    parser.add_argument("name", nargs="?", choices=NAMES, help="the benchmark to run")
    parser.add_argument("--list", action="store_true", help="say what benchmarks there are")
    parser.add_argument("--quick", action="store_true", help="the smallest size, once, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all there, the raw samples too")
    return parser


def _about(name: str) -> str:
    return (import_module(f"benchmarks.{name}").__doc__ or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
