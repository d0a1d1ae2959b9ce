"""Settings from the environment: each variable, for all functions and for one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlcache import ConfigurationError, Expiry, MlcacheWarning, ml_cache, open_backend, settings
from mlcache.settings import Settings, capitals, read, read_for


def test_nothing_said_is_nothing_set() -> None:
    assert read({}) == Settings() == read({"PATH": "/bin", "XMLCACHE_TTL": "no"})


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("BACKEND", "lru, disk", "backend", "lru, disk"),
        ("TTL", "1h30m", "ttl", 5400.0),
        ("TTL", "90", "ttl", 90.0),
        ("DIR", "/var/cache/ml", "directory", "/var/cache/ml"),
        ("MAX_BYTES", "512MiB", "max_bytes", 512 * 2**20),
        ("SECRET", "0123456789abcdef", "secret", "0123456789abcdef"),
        *(("DISABLED", text, "disabled", True) for text in ("1", "true", "Yes", " on ")),
        *(("DISABLED", text, "disabled", False) for text in ("0", "false", "No", "off", "")),
        ("STRICT", "1", "strict", True),
        ("OFFLOAD_WORKERS", "0", "offload_workers", 0),
        ("OFFLOAD_WORKERS", " 2", "offload_workers", 2),
        ("CHECK", "mutation", "check", "mutation"),
        ("CHECK", " None", "check", None),
    ],
)
def test_each_variable_is_read_for_all_and_for_one(
    variable: str, text: str, field: str, value: object
) -> None:
    assert getattr(read({f"MLCACHE_{variable}": text}), field) == value
    assert read_for(("score",), {f"MLCACHE__SCORE__{variable}": text}) == {field: value}


@pytest.mark.parametrize(
    ("variable", "text", "help_"),
    [
        ("BACKEND", "", "empty"),
        ("BACKEND", "lruu", "did you mean lru"),
        ("BACKEND", "lru,,disk", "commas"),
        ("BACKEND", "lru?max_bytes=much", "512MiB"),
        ("TTL", "soon", "1h30m"),
        ("TTL", "0", "above zero"),
        ("TTL", "", "1h30m"),
        ("DIR", " ", "empty"),
        ("MAX_BYTES", "lots", "512MiB"),
        ("MAX_BYTES", "-1", "512MiB"),
        ("SECRET", "", "empty"),
        ("SECRET", "short", "16"),
        ("DISABLED", "maybe", "true or false"),
        ("STRICT", "2", "true or false"),
        ("OFFLOAD_WORKERS", "many", "whole number"),
        ("OFFLOAD_WORKERS", "-1", "whole number"),
        ("CHECK", "everything", "give mutation"),
    ],
)
@pytest.mark.parametrize("prefix", ["MLCACHE_", "MLCACHE__SCORE__"])
def test_a_broken_value_names_its_variable_at_the_first_call(
    prefix: str, variable: str, text: str, help_: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(prefix + variable, text)

    @ml_cache(backend=None if variable == "BACKEND" else f"disk://{tmp_path}/cache")
    def score(x: int) -> int:
        return x

    with pytest.raises(ConfigurationError) as caught:
        score(1)
    assert str(caught.value).startswith(prefix + variable)
    assert help_ in str(caught.value)
    if variable == "SECRET" and text:
        assert text not in str(caught.value)


@pytest.mark.parametrize("use", [lambda f: f.cache_info(), lambda f: f.peek(1), lambda f: f.cache_clear()])
def test_whatever_is_done_first_names_a_broken_variable(
    use: Callable[[Any], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLCACHE_TTL", "soon")
    with pytest.raises(ConfigurationError, match="MLCACHE_TTL is 'soon'"):
        use(ml_cache(lambda x: x))


def test_a_broken_variable_is_mended_without_starting_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    @ml_cache
    def score(x: int) -> int:
        return x

    monkeypatch.setenv("MLCACHE_TTL", "soon")
    with pytest.raises(ConfigurationError):
        score(1)
    monkeypatch.setenv("MLCACHE_TTL", "1h")
    assert score(1) == 1
    assert score.cache_parameters()["ttl"] == "ttl 1h"


def test_the_environment_is_read_at_the_first_call_and_then_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    @ml_cache
    def score(x: int) -> int:
        return x

    monkeypatch.setenv("MLCACHE_TTL", "1h")
    score(1)
    monkeypatch.setenv("MLCACHE_TTL", "2h")
    score(2)
    assert score.cache_parameters()["ttl"] == "ttl 1h"


def test_the_environment_is_what_code_does_not_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLCACHE_TTL", "1h")
    monkeypatch.setenv("MLCACHE_BACKEND", "disk")
    monkeypatch.setenv("MLCACHE_DIR", str(tmp_path / "cache"))

    @ml_cache
    def silent(x: int) -> int:
        return x

    @ml_cache(backend="lru", ttl="2h")
    def outspoken(x: int) -> int:
        return x

    silent(1)
    outspoken(1)
    assert silent.cache_parameters()["ttl"] == "ttl 1h"
    assert str(tmp_path / "cache") in silent.cache_parameters()["backend"]
    assert outspoken.cache_parameters()["ttl"] == "ttl 2h"
    assert "lru" in outspoken.cache_parameters()["backend"]


def test_the_last_word_is_that_for_one_function(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for option, text in {"TTL": "3h", "BACKEND": "disk", "DIR": str(tmp_path / "one")}.items():
        monkeypatch.setenv(f"MLCACHE__SCORE__{option}", text)
    monkeypatch.setenv("MLCACHE_TTL", "1h")

    @ml_cache(backend="lru", ttl="2h")
    def score(x: int) -> int:
        return x

    @ml_cache(backend="lru", ttl="2h")
    def scorer(x: int) -> int:
        return x

    score(1)
    scorer(1)
    assert score.cache_parameters()["ttl"] == "ttl 3h"
    assert str(tmp_path / "one") in score.cache_parameters()["backend"]
    assert scorer.cache_parameters()["ttl"] == "ttl 2h"


def test_bounds_of_the_environment_do_not_win_over_those_in_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCACHE_MAX_BYTES", "2MiB")

    @ml_cache(backend="lru?max_bytes=1MiB")
    def bounded(x: int) -> int:
        return x

    @ml_cache(backend="lru")
    def plain(x: int) -> int:
        return x

    assert bounded.cache_info().max_bytes == 2**20
    assert plain.cache_info().max_bytes == 2 * 2**20


@pytest.mark.parametrize(
    ("backend", "shown"),
    [
        ("lru?max_bytes=1MiB", "3.0 MiB"),
        ("lru", "3.0 MiB"),
        ("disk://{folder}/mine?max_bytes=1MiB", "{folder}/theirs, at most 3.0 MiB"),
        ("disk", "{folder}/theirs, at most 3.0 MiB"),
    ],
)
def test_bounds_and_folder_for_one_function_win_over_its_url(
    backend: str, shown: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLCACHE__SCORE__MAX_BYTES", "3MiB")
    monkeypatch.setenv("MLCACHE__SCORE__DIR", str(tmp_path / "theirs"))

    @ml_cache(backend=backend.format(folder=tmp_path))
    def score(x: int) -> int:
        return x

    @ml_cache(backend=backend.format(folder=tmp_path))
    def other(x: int) -> int:
        return x

    assert shown.format(folder=tmp_path) in score.cache_parameters()["backend"]
    assert score(1) == 1
    assert shown.format(folder=tmp_path) not in other.cache_parameters()["backend"]


class Model:
    @staticmethod
    @ml_cache(ttl="2h")
    def score(x: int) -> int:
        return x


plain_score: Callable[[int], int] = Model.score.__wrapped__


@pytest.mark.parametrize(
    ("variable", "shown"),
    [
        ("MLCACHE__SCORE__TTL", "ttl 1h"),
        ("MLCACHE__MODEL_SCORE__TTL", "ttl 1h"),
        ("MLCACHE__TEST_SETTINGS_MODEL_SCORE__TTL", "ttl 1h"),
        ("MLCACHE__TESTS_TEST_SETTINGS_MODEL_SCORE__TTL", "ttl 1h"),
        ("MLCACHE__MODEL__TTL", "ttl 2h"),
        ("MLCACHE__CORE__TTL", "ttl 2h"),
    ],
)
def test_a_function_is_named_by_any_end_of_its_full_name(
    variable: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1h")
    score = ml_cache(ttl="2h")(plain_score)
    assert score.cache_parameters()["ttl"] == shown


def test_a_ttl_for_one_function_leaves_the_rest_of_its_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCACHE__SCORE__TTL", "1h")
    terms = Expiry("2h", stale="10m", early=1.5, jitter=0.5, stale_if_error="1d", errors={OSError: 5})
    shown = ml_cache(ttl=terms)(plain_score).cache_parameters()["ttl"]
    assert shown == f"{terms}".replace("ttl 2h", "ttl 1h")
    assert "10m" in shown


def test_the_most_particular_name_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCACHE__MODEL_SCORE__TTL", "1h")
    monkeypatch.setenv("MLCACHE__SCORE__TTL", "2h")
    assert ml_cache(plain_score).cache_parameters()["ttl"] == "ttl 1h"


def test_a_function_with_a_name_of_its_own_is_called_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCACHE__MY_MODEL_V2__TTL", "1h")
    score = ml_cache(name="my-model v2")(plain_score)
    assert score.cache_parameters()["ttl"] == "ttl 1h"


def test_an_unknown_option_of_one_function_is_an_error_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLCACHE__SCORE__TLL", "1h")
    score = ml_cache(plain_score)
    with pytest.raises(ConfigurationError, match=r"MLCACHE__SCORE__TLL.*did you mean MLCACHE__SCORE__TTL"):
        score(1)


def test_an_unknown_variable_is_warned_of_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCACHE_BAKEND", "disk")
    with pytest.warns(MlcacheWarning, match="MLCACHE_BAKEND is no setting.*did you mean MLCACHE_BACKEND"):
        assert ml_cache(plain_score)(1) == 1
    with pytest.warns(MlcacheWarning, match="MLCACHE_COLOUR is no setting.*BACKEND, TTL"):
        read({"MLCACHE_COLOUR": "red"})


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("MLCACHE_SCORE_TTL", "did you mean MLCACHE__SCORE__TTL, for a function called score"),
        ("MLCACHE_MY_MODEL_MAX_BYTES", "did you mean MLCACHE__MY_MODEL__MAX_BYTES"),
        ("MLCACHE__score__ttl", "in capitals: did you mean MLCACHE__SCORE__TTL"),
        ("MLCACHE_ttl", "did you mean MLCACHE_TTL"),
    ],
)
def test_a_variable_written_almost_right_is_warned_of(variable: str, meant: str) -> None:
    with pytest.warns(MlcacheWarning, match=f"{variable} is no setting.*{meant}"):
        assert read({variable: "3s"}) == Settings()


def test_variables_of_other_functions_are_no_matter() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read({"MLCACHE__OTHER__TTL": "soon"}) == Settings()
    assert read_for(("score",), {"MLCACHE__OTHER__TTL": "soon", "MLCACHE__SCORER__TTL": "soon"}) == {}


def test_switched_off_it_calls_the_function_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCACHE_DISABLED", "1")
    calls: list[int] = []

    @ml_cache(ignore=["x"])
    def score(x: object) -> int:
        calls.append(isinstance(x, int))
        return len(calls)

    assert (score(1), score(1), score(object())) == (1, 2, 3)
    result = score.call_with_info(1)
    assert (result.value, result.status, result.kept) == (4, "bypass", False)
    assert score.refresh(1) == 5
    assert score.warm([1, 2]) == 0
    assert score.peek(1) is None


async def test_switched_off_it_calls_the_coroutine_function_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCACHE_DISABLED", "1")
    calls: list[int] = []

    @ml_cache
    async def score(x: int) -> int:
        calls.append(x)
        return len(calls)

    assert (await score(1), await score(1)) == (1, 2)
    assert (await score.call_with_info(1)).status == "bypass"

    @ml_cache
    def plain(x: int) -> int:
        calls.append(x)
        return len(calls)

    assert (await plain.aio(1), await plain.aio(1), plain(1)) == (4, 5, 6)


def test_one_function_can_be_switched_off_and_one_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCACHE_DISABLED", "1")
    monkeypatch.setenv("MLCACHE__KEPT__DISABLED", "0")

    @ml_cache
    def kept(x: int) -> int:
        return x

    @ml_cache
    def passed(x: int) -> int:
        return x

    assert [f.call_with_info(1).status for f in (kept, kept, passed, passed)] == [
        "miss",
        "hit",
        "bypass",
        "bypass",
    ]


def test_the_hash_is_one_for_the_whole_process() -> None:
    assert read({"MLCACHE_HASH": "blake3"}).hash == "blake3"
    with pytest.raises(ConfigurationError, match=r"MLCACHE_HASH is 'md5'.*xxh3.*blake3"):
        read({"MLCACHE_HASH": "md5"})
    with pytest.raises(ConfigurationError, match=r"MLCACHE__SCORE__HASH.*set MLCACHE_HASH instead"):
        read_for(("score",), {"MLCACHE__SCORE__HASH": "blake3"})


def test_all_functions_share_one_trace() -> None:
    assert read({"MLCACHE_TRACE": "/tmp/calls.trace"}).trace == "/tmp/calls.trace"  # noqa: S108 - is not opened
    with pytest.raises(ConfigurationError, match="MLCACHE_TRACE is empty"):
        read({"MLCACHE_TRACE": ""})
    with pytest.raises(ConfigurationError, match=r"MLCACHE__SCORE__TRACE.*set MLCACHE_TRACE instead"):
        read_for(("score",), {"MLCACHE__SCORE__TRACE": "calls.trace"})


def test_only_blake3_is_keyed_by_the_secret() -> None:
    secret = {"MLCACHE_SECRET": "0123456789abcdef"}
    assert settings.hash_asked_for({}) == ("xxh3", None) == settings.hash_asked_for(secret)
    assert settings.hash_asked_for({"MLCACHE_HASH": "blake3"}) == ("blake3", None)
    assert settings.hash_asked_for(secret | {"MLCACHE_HASH": " BLAKE3"}) == ("blake3", "0123456789abcdef")
    with pytest.raises(ConfigurationError, match="MLCACHE_SECRET"):
        settings.hash_asked_for({"MLCACHE_HASH": "blake3", "MLCACHE_SECRET": "short"})


def test_a_secret_is_never_shown() -> None:
    shown = repr(read({"MLCACHE_SECRET": "0123456789abcdef", "MLCACHE_TTL": "1h"}))
    assert shown == "Settings(ttl=3600.0, secret='...')"


def test_open_backend_reads_the_same_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLCACHE_MAX_BYTES", "3MiB")
    monkeypatch.setenv("MLCACHE_DIR", str(tmp_path / "here"))
    assert "3.0 MiB" in repr(open_backend("lru"))
    assert str(tmp_path / "here") in repr(open_backend("disk"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [("app.Model.score", "APP_MODEL_SCORE"), ("f__x", "F_X"), ("<lambda>", "LAMBDA"), ("a-b c", "A_B_C")],
)
def test_names_in_capitals(name: str, shown: str) -> None:
    assert capitals(name) == shown


def test_every_field_has_its_variable() -> None:
    assert {field for field, _ in settings._OPTIONS.values()} == set(Settings.__struct_fields__)
