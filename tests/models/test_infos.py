from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mlcache.errors import ConfigurationError, MissingExtraError, ModelStoreError, UnknownUserError
from mlcache.models import (
    CachedModelInfoRepository,
    ModelInfoRepository,
    Pings,
    SQLAlchemyModelInfoRepository,
)
from mlcache.testing.clock import FakeClock

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")


@pytest.fixture(params=["sqlite", "postgres"])
def infos(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SQLAlchemyModelInfoRepository]:
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").url
    else:
        url = f"sqlite:///{tmp_path}/infos.db"
    found = SQLAlchemyModelInfoRepository(url, table=f"t{abs(hash(tmp_path))}")
    found.create()
    found.create()
    yield found
    found.close()


def test_users_and_their_models(infos: SQLAlchemyModelInfoRepository) -> None:
    assert isinstance(infos, ModelInfoRepository)
    assert isinstance(infos, Pings)
    infos.ping()
    infos.put_model_id("ann", "m1")
    infos.put_model_id("bob'; drop table x; --", "m2")
    assert infos.get_model_id("ann") == "m1"
    assert infos.get_model_id("bob'; drop table x; --") == "m2"
    infos.put_model_id("ann", "m3")
    assert infos.get_model_id("ann") == "m3"
    with pytest.raises(UnknownUserError, match="'eve'"):
        infos.get_model_id("eve")


def test_many_threads_ask(infos: SQLAlchemyModelInfoRepository) -> None:
    for number in range(20):
        infos.put_model_id(f"u{number}", f"m{number}")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: infos.get_model_id(f"u{number % 20}"), range(400)))
    assert found == [f"m{number % 20}" for number in range(400)]


def test_a_table_of_the_users_own(tmp_path: Path) -> None:
    file = tmp_path / "app.db"
    with sqlite3.connect(file) as connection:
        connection.execute("create table customers (email text primary key, predictor integer)")
        connection.execute("insert into customers values ('a@b.c', 7)")
    connection.close()
    names: dict[str, Any] = {"table": "customers", "user_column": "email", "model_column": "predictor"}
    infos = SQLAlchemyModelInfoRepository(f"sqlite:///{file}", **names)
    assert infos.get_model_id("a@b.c") == "7"
    infos.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_the_same_for_all_threads(url: str) -> None:
    infos = SQLAlchemyModelInfoRepository(url)
    infos.create()
    with ThreadPoolExecutor(8) as pool:
        numbers = [str(number) for number in range(100)]
        list(pool.map(infos.put_model_id, numbers, numbers))
        assert list(pool.map(infos.get_model_id, numbers)) == numbers
    infos.close()


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_users_may_be_numbers(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    from sqlalchemy import create_engine, text

    by_file = f"sqlite:///{tmp_path}/numbers.db"
    engine = create_engine(request.getfixturevalue("postgres").url if database == "postgres" else by_file)
    with engine.begin() as connection:
        connection.execute(text("create table numbered (id integer primary key, model text)"))
        connection.execute(text("insert into numbered values (7, 'm')"))
    infos = SQLAlchemyModelInfoRepository(engine, table="numbered", user_column="id", model_column="model")
    assert infos.get_model_id("7") == "m"
    for nobody in ("8", "ann", "7; drop table numbered"):
        with pytest.raises(UnknownUserError):
            infos.get_model_id(nobody)
    engine.dispose()


def test_an_engine_stays_its_owners(tmp_path: Path) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{tmp_path}/infos.db")
    infos = SQLAlchemyModelInfoRepository(engine)
    infos.create()
    infos.put_model_id("ann", "m1")
    infos.close()
    assert engine.pool.checkedin() == 1  # type: ignore[attr-defined]
    assert infos.get_model_id("ann") == "m1"
    engine.dispose()


def test_a_database_without_the_table_does_not_answer_and_shows_no_password(tmp_path: Path) -> None:
    infos = SQLAlchemyModelInfoRepository(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(ModelStoreError, match="model_infos"):
        infos.get_model_id("ann")
    infos.close()
    away = SQLAlchemyModelInfoRepository("postgresql+psycopg://me:hidden@127.0.0.1:1/x?connect_timeout=1")
    with pytest.raises(ModelStoreError) as caught:
        away.ping()
    assert "hidden" not in str(caught.value) + repr(away)
    away.close()


def test_a_name_that_postgres_cannot_hold_is_nobodys(postgres: Any) -> None:
    infos = SQLAlchemyModelInfoRepository(postgres.url, table="hostile")
    infos.create()
    cached = CachedModelInfoRepository(infos)
    for name in ("a\0b", "x" * 1000):
        with pytest.raises(UnknownUserError):
            cached.get_model_id(name)
    infos.close()


def test_the_same_new_user_may_be_put_by_many_at_once(infos: SQLAlchemyModelInfoRepository) -> None:
    with ThreadPoolExecutor(8) as pool:
        for user in map(str, range(20)):
            list(pool.map(infos.put_model_id, [user] * 8, map(str, range(8))))
            assert infos.get_model_id(user) in "01234567"


def test_postgres_stopped_and_started_again(postgres: Any) -> None:
    infos = SQLAlchemyModelInfoRepository(postgres.url, table="stopped")
    infos.create()
    infos.put_model_id("ann", "m1")
    postgres.stop()
    try:
        with pytest.raises(ModelStoreError):
            infos.get_model_id("ann")
    finally:
        postgres.start()
    assert infos.get_model_id("ann") == "m1"
    infos.close()


@pytest.mark.parametrize("url", ["nonsense", "nonsense://x", "sqlite:////no/such/folder/x.db"])
def test_what_is_no_database_is_refused(url: str) -> None:
    with pytest.raises((ConfigurationError, ModelStoreError)):
        SQLAlchemyModelInfoRepository(url).ping()


def test_a_driver_that_is_missing_is_named() -> None:
    with pytest.raises(MissingExtraError, match=r"oracledb|cx_Oracle"):
        SQLAlchemyModelInfoRepository("oracle://host/x")


class Asked:
    def __init__(self, **known: str) -> None:
        self.known = known
        self.asked = 0
        self.is_down = False

    def get_model_id(self, user_id: str, /) -> str:
        self.asked += 1
        if self.is_down:
            raise ModelStoreError("down")
        if user_id not in self.known:
            raise UnknownUserError(f"no {user_id}")
        return self.known[user_id]


async def test_what_was_asked_is_remembered() -> None:
    asked = Asked(ann="m1")
    with FakeClock() as time:
        infos = CachedModelInfoRepository(asked, ttl="1m")
        assert isinstance(infos, ModelInfoRepository)
        assert [infos.get_model_id("ann") for _ in range(3)] == ["m1"] * 3
        assert await infos.get_model_id_async("ann") == "m1"
        assert asked.asked == 1
        asked.known["ann"] = "m2"
        assert infos.forget("ann")
        assert infos.get_model_id("ann") == "m2"
        asked.known["ann"] = "m3"
        time.advance(121)
        assert infos.get_model_id("ann") == "m3"


def test_two_repositories_remember_apart() -> None:
    one, two = CachedModelInfoRepository(Asked(ann="m1")), CachedModelInfoRepository(Asked(ann="m2"))
    assert (one.get_model_id("ann"), two.get_model_id("ann")) == ("m1", "m2")


def test_an_unknown_user_is_remembered_for_a_moment() -> None:
    asked = Asked()
    with FakeClock() as time:
        infos = CachedModelInfoRepository(asked, unknown_for="5s", ttl="1h", stale_if_error="1d")
        for _ in range(3):
            with pytest.raises(UnknownUserError):
                infos.get_model_id("ann")
        assert asked.asked == 1
        asked.known["ann"] = "m1"
        time.advance(2 * 3600)
        assert infos.get_model_id("ann") == "m1"
        del asked.known["ann"]
        time.advance(3 * 3600)
        with pytest.raises(UnknownUserError):  # and not the answer of before
            infos.get_model_id("ann")


def test_while_nobody_can_be_asked_known_users_go_on_and_others_are_refused_at_once() -> None:
    asked = Asked(ann="m1")
    with FakeClock() as time:
        infos = CachedModelInfoRepository(asked, ttl="1m", stale_if_error="1h", retry_after="1s")
        infos.get_model_id("ann")
        asked.is_down = True
        time.advance(150)
        assert infos.get_model_id("ann") == "m1"
        before = asked.asked
        for _ in range(5):
            with pytest.raises(ModelStoreError) as caught:
                infos.get_model_id("bob")
            assert caught.value.retry_after == 1.0
        assert asked.asked == before
        asked.is_down, asked.known["bob"] = False, "m2"
        time.advance(1)
        assert infos.get_model_id("bob") == "m2"
