"""``python -m benchmarks NAME... [--quick | --brief] [--check] [--json FILE] [--html FILE]``, ``--list``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from benchmarks.harness import be_brief
from benchmarks.report import Report, write_json
from mlcache.bench import document
from mlcache.bench.document import Document
from mlcache.cli import files
from mlcache.errors import ConfigurationError

NAMES = ("hits", "answers", "keys", "backends", "stampede", "offload", "service", "batch", "models")


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(f"{name:10} {_about(name)}" for name in NAMES))
        return 0
    if options.check and options.quick:
        parser.error("one sample of each says nothing of targets: leave out --quick or --check")
    if not options.names and not options.check:
        parser.error("say which benchmarks; --list shows them all")
    try:
        measured = _checked(options)
    except ConfigurationError as error:
        parser.error(str(error))
    if options.brief:
        be_brief()
    pace = "quick" if options.quick else "brief" if options.brief else "full"
    reports = [_run(name, pace) for name in options.names or NAMES]
    _write(reports, options, measured)
    return _check(reports) if options.check else 0


def _checked(options: argparse.Namespace) -> Document | None:
    """The run that is to stand before the others, if any; raises for what would fail when all is measured."""
    if options.run and not options.html:
        raise ConfigurationError("--with is for the page: give --html, too, or leave it out")
    if len(set(options.names)) < len(options.names):
        raise ConfigurationError("a benchmark is named twice: once is enough")
    files.check(json=options.json, html=options.html)
    return document.read(options.run) if options.run else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description="Compare mlcache with its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", type=_name, help=f"of {', '.join(NAMES)}")
    parser.add_argument("--list", action="store_true", help="say what benchmarks there are")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--quick", action="store_true", help="the smallest size, once, to see that it works")
    pace.add_argument("--brief", action="store_true", help="all sizes, with fewer samples")
    parser.add_argument("--check", action="store_true", help="fail where a ratio misses its target")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all there, the raw samples too")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots there")
    parser.add_argument("--with", type=Path, metavar="FILE", dest="run", help="of mlcache bench --json")
    return parser


def _name(text: str) -> str:
    if text not in NAMES:  # argparse's own choices refuse to be given none
        raise argparse.ArgumentTypeError(f"there is no benchmark {text!r}: choose from {', '.join(NAMES)}")
    return text


def _run(name: str, pace: str) -> Report:
    report: Report = import_module(f"benchmarks.{name}").run(quick=pace == "quick")
    report = replace(report, pace=pace)
    if pace == "quick":  # one sample of each says nothing of targets
        report = replace(report, targets=())
    print(report.text(), flush=True)
    return report


def _write(reports: Sequence[Report], options: argparse.Namespace, measured: Document | None) -> None:
    if options.json and len(reports) == 1:
        reports[0].write_json(options.json)
    elif options.json:
        write_json({"reports": [report.document() for report in reports]}, options.json)
    if options.html:
        from benchmarks.html import page

        options.html.write_text(page(reports, measured), encoding="utf-8")
        print(f"The report is in {options.html}")


def _check(reports: Sequence[Report]) -> int:
    """The exit status: 1 where a target is missed that is a ratio."""
    verdicts = [(report.name, verdict) for report in reports for verdict in report.verdicts()]
    verdicts = [(name, verdict) for name, verdict in verdicts if verdict.checked]
    missed = [(name, verdict) for name, verdict in verdicts if not verdict.met]
    print(f"{len(verdicts) - len(missed)} of {len(verdicts)} targets met")
    for name, verdict in missed:
        print(f"MISS  {name}: {verdict.text} ({verdict.measured})")
    return 1 if missed else 0


def _about(name: str) -> str:
    return (import_module(f"benchmarks.{name}").__doc__ or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
