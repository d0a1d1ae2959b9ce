"""What a worker logs or warns of is said by the parent, under the parent's own configuration."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from mlcache import Pool
from mlcache.offload import journal
from tests.offload import samples, tasks

CONTEXT = get_context("forkserver")
Elsewhere = Callable[..., Any]


def note(function: Callable[..., Any], *args: Any) -> bytes:
    """In a worker: call, and hand back what was said meanwhile."""
    function(*args)
    return journal.take()


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Calls a function in a worker, and says here what it said there."""
    executors: list[ProcessPoolExecutor] = []

    def call(function: Callable[..., Any], *args: Any) -> None:
        if not executors:  # under the configuration of the test
            executors.append(ProcessPoolExecutor(1, CONTEXT, journal.start, (journal.terms(),)))
        journal.replay(executors[0].submit(note, function, *args).result())

    yield call
    for executor in executors:
        executor.shutdown()


def log_some() -> None:
    logger = logging.getLogger("app.model")
    logger.debug("too quiet")
    logger.info("took %d of %s", 3, "four", extra={"user": 8, "array": SomethingElse()})
    logging.getLogger("app.loud").warning("%(a)s and %(b)s", {"a": 1, "b": 2})
    logging.getLogger().error("to the root: %s", SomethingElse())


class SomethingElse:
    def __repr__(self) -> str:
        return "<something else>"


def test_records_are_logged_by_loggers_of_the_same_names(
    elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "app.model")
    elsewhere(log_some)
    assert [(each.name, each.levelname, each.getMessage()) for each in caplog.records] == [
        ("app.model", "INFO", "took 3 of four"),
        ("app.loud", "WARNING", "1 and 2"),
        ("root", "ERROR", "to the root: <something else>"),
    ]
    first: Any = caplog.records[0]
    assert (first.msg, first.args) == ("took %d of %s", (3, "four"))
    assert (first.user, first.array) == (8, "<something else>")
    assert (first.funcName, first.module) == ("log_some", "test_journal")
    assert first.process != os.getpid()


def test_levels_of_the_parent_hold_in_the_worker(
    elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("CRITICAL", "app")
    sent: list[bytes] = []
    monkeypatch.setattr(journal, "replay", sent.append)
    elsewhere(log_loudly)
    assert sent == [b""]


def log_loudly() -> None:
    logging.getLogger("app.loud").error("no")


def test_a_level_that_was_raised_meanwhile_counts(
    elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere(samples.add, 1)
    caplog.set_level("CRITICAL", "app")
    elsewhere(log_loudly)
    assert caplog.records == []


def log_exception() -> None:
    try:
        samples.fail(3)
    except KeyError:
        logging.getLogger("app").exception("it failed", stack_info=True)


def test_an_exception_is_logged_with_its_own_traceback(
    elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere(log_exception)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)
    assert record.stack_info
    shown = logging.Formatter().format(record)
    assert "in fail\n" in shown
    assert "samples.OtherArgumentsError: failed with 3" in shown
    assert shown.count("a note of the function") == 1


def configure_and_log() -> None:
    logging.basicConfig(level="DEBUG", stream=sys.stderr, force=True)
    logging.getLogger("app").error("once")


def test_handlers_that_a_module_sets_up_in_the_worker_say_nothing(
    elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    elsewhere(configure_and_log)
    assert [each.getMessage() for each in caplog.records] == ["once"]
    assert "once" not in capfd.readouterr().err


def log_oddly() -> None:
    logger = logging.getLogger("app")
    logger.error("too few %s %s", 1)  # noqa: PLE1206 - on purpose
    logger.error("half \ud800", extra={"large": 2**100, "nested": {"a": [1, (2, SomethingElse())]}})
    logger.error(SomethingElse())
    logger.error("%s", NoWords())
    logger.error("x" * 1_000_000)


class NoWords:
    def __repr__(self) -> str:
        raise RuntimeError


def test_what_can_hardly_be_said_is_said_somehow(
    elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere(log_oddly)
    texts = [each.getMessage() for each in caplog.records]
    assert texts[0].startswith("'too few %s %s' (which cannot be formatted")
    assert texts[1] == "half \\ud800"
    assert vars(caplog.records[1])["large"] == str(2**100)
    assert vars(caplog.records[1])["nested"] == {"a": [1, [2, "<something else>"]]}
    assert texts[2] == "<something else>"
    assert "cannot be formatted" in texts[3]
    assert len(texts[4]) == 1 << 16


def log_very_much(count: int, length: int) -> None:
    for _ in range(count):
        logging.getLogger("app").error("x" * length)


@pytest.mark.parametrize(("count", "length", "most"), [(5000, 1, journal.MOST_RECORDS), (50, 60_000, 20)])
def test_what_is_more_than_the_bound_is_counted(
    elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture, count: int, length: int, most: int
) -> None:
    elsewhere(log_very_much, count, length)
    *records, last = caplog.records
    assert 0 < len(records) <= most
    assert last.name == "mlcache.offload"
    assert last.getMessage().startswith(f"a worker logged {count - len(records)} records more")
    elsewhere(log_very_much, 1, 1)
    assert caplog.records[-1].getMessage() == "x"


def test_filters_and_handlers_of_the_user_may_raise(
    elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        raise SystemExit(record.name)

    logger = logging.getLogger("app.model")
    logger.addFilter(refuse)
    try:
        elsewhere(log_some)
    finally:
        logger.removeFilter(refuse)
    assert [each.name for each in caplog.records] == ["app.loud", "root"]
    capsys.readouterr()


def test_warnings_are_given_under_the_filters_of_the_parent(elsewhere: Elsewhere) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with pytest.warns(UserWarning, match="beware") as caught:
            elsewhere(samples.warn, "beware")
    (warning,) = caught
    assert warning.filename == samples.__file__


def test_what_was_sent_by_value_may_warn_too() -> None:
    scope: dict[str, Any] = {"__name__": "__main__", "warnings": warnings}
    exec(compile("def f(): warnings.warn('of a cell', DeprecationWarning)", "/tmp/cell 1.py", "exec"), scope)  # noqa: S102, S108 - as a notebook does
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings(
            "default", category=DeprecationWarning, module="__main__"
        )  # as in Python's own list
        with Pool(1) as pool:
            pool.submit(scope["f"]).result(60)
    assert [(str(each.message), each.filename) for each in caught] == [("of a cell", "/tmp/cell 1.py")]  # noqa: S108


def test_the_parent_shows_a_warning_as_often_as_its_filters_say(elsewhere: Elsewhere) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            elsewhere(samples.warn, "again")
        assert len(caught) == 1
        warnings.simplefilter("always")
        elsewhere(samples.warn, "again")
        assert len(caught) == 2
        warnings.simplefilter("ignore")
        elsewhere(samples.warn, "again")
        assert len(caught) == 2


def warn_often() -> None:
    for _ in range(5000):
        samples.warn("often")
    for number in range(5000):
        samples.warn(f"number {number}")


def test_warnings_are_bounded(elsewhere: Elsewhere) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        elsewhere(warn_often)
    assert len(caught) == journal.MOST_RECORDS
    assert sum(str(each.message) == "often" for each in caught) == 1


class OddWarning(DeprecationWarning):
    """Is known in the worker alone, once it has been moved there."""


def warn_oddly() -> None:
    OddWarning.__qualname__ = "SomewhereElse"
    warnings.warn("odd", OddWarning, stacklevel=1)


def test_a_category_that_is_unknown_here_is_its_nearest_base(elsewhere: Elsewhere) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        elsewhere(warn_oddly)
    assert [each.category for each in caught] == [DeprecationWarning]


def test_a_warning_that_is_an_error_here_is_one_there(elsewhere: Elsewhere) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "mild")
        elsewhere(samples.warn, "mild words")
        with pytest.raises(UserWarning, match="hard"):
            elsewhere(samples.warn, "hard words")


def test_a_warning_that_became_an_error_after_the_call_is_logged(
    elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        elsewhere(samples.add, 1)
        warnings.simplefilter("error")
        elsewhere(samples.warn, "too late")
    assert "UserWarning: too late" in caplog.text


@pytest.mark.parametrize("data", [b"", b"rubbish", b"\x93\x90\x90\x00"])
def test_rubbish_says_nothing(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    journal.replay(data)
    assert caplog.records == []


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """What arrives at Sentry, by way of a transport of the test."""
    sentry_sdk = pytest.importorskip("sentry_sdk")
    from sentry_sdk.integrations.logging import LoggingIntegration
    from sentry_sdk.transport import Transport

    arrived: list[Any] = []

    class Caught(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            arrived.append(envelope.get_event())

    logs_as_before = logging.Logger.callHandlers  # which the integration replaces for good
    asked = {"default_integrations": False, "integrations": [LoggingIntegration()]}
    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=Caught, **asked)
    yield arrived
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.get_global_scope().set_client(None)
    logging.Logger.callHandlers = logs_as_before  # type: ignore[method-assign]


def test_an_error_logged_in_a_worker_is_an_event_of_sentry(elsewhere: Elsewhere, events: list[Any]) -> None:
    elsewhere(log_exception)
    elsewhere(log_loudly)
    with Pool(1) as pool:
        pool.submit(tasks.log_error, "by a pool").result(20)
    failed, loud, pooled = events
    assert (pooled["logger"], pooled["exception"]["values"][-1]["value"]) == ("app", "by a pool")
    assert failed["logger"] == "app"
    assert failed["logentry"]["message"] == "it failed"
    kinds = [each["type"] for each in failed["exception"]["values"]]
    assert kinds == ["WorkerTraceback", "RuntimeError", "OtherArgumentsError", "KeyError"]
    assert "in fail\n" in failed["exception"]["values"][0]["value"]
    assert (loud["level"], loud["logentry"]["message"]) == ("error", "no")
