from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlcache.crew import SIZE, crew
from mlcache.errors import InvalidModelError, ModelStoreError, NoRoomError, UnknownModelError
from mlcache.models import CachedModelRepository, Description
from mlcache.testing.clock import FakeClock
from tests.models.samples import Store, a_store, cached


@pytest.fixture
def time() -> Iterator[FakeClock]:
    with FakeClock() as fake:
        yield fake


def version_in_use(models: CachedModelRepository, model_id: str = "0") -> str:
    lease = models.lease(model_id)
    with lease as model:
        assert model.seen_version == lease.version  # type: ignore[attr-defined]
        return lease.version


def settle() -> None:
    done = threading.Event()
    while crew().busy:
        done.wait(0.002)


def test_a_new_version_is_noticed_in_the_background_and_takes_over(time: FakeClock) -> None:
    store = a_store(1)
    with cached(store, check_every="30s") as models:
        assert version_in_use(models) == "1"
        store.versions["0"] = "2"
        time.advance(29)
        assert version_in_use(models) == "1"
        settle()
        assert version_in_use(models) == "1"
        time.advance(1)
        assert version_in_use(models) == "1"  # nobody waits for the look
        settle()
        assert version_in_use(models) == "2"
        assert models.known_version("0") == "2"
        assert models.info().refreshes == 1
        assert len(store.alive) == 1


def test_a_newer_version_that_can_never_fit_leaves_the_older_one(time: FakeClock) -> None:
    store = a_store(1)
    with cached(store, check_every="30s", max_bytes=1000) as models:
        assert version_in_use(models) == "1"
        store.versions["0"], store.sizes["0"] = "2", 5000
        with pytest.raises(NoRoomError, match="more than the"):
            models.refresh("0")
        assert version_in_use(models) == "1"
        time.advance(31)
        version_in_use(models)
        settle()
        assert version_in_use(models) == "1"
        store.versions["0"], store.sizes["0"] = "3", 100
        assert models.refresh("0")
        assert version_in_use(models) == "3"


def test_versions_are_looked_at_no_more_often_than_asked(time: FakeClock) -> None:
    store = a_store(1)
    with cached(store, check_every="30s") as models:
        version_in_use(models)
        before = store.describes
        for _ in range(100):
            version_in_use(models)
            time.advance(1)
            settle()
        assert store.describes - before == 3
        assert store.loads["0"] == 1


def test_the_older_version_answers_until_the_newer_is_there_and_until_its_leases_end() -> None:
    store = a_store(1)
    free = threading.Event()
    with cached(store) as models, ThreadPoolExecutor(1) as pool:
        with models.lease("0") as old:
            store.versions["0"] = "2"
            store.before_load = lambda _: free.wait(10)
            looking = pool.submit(models.refresh, "0")
            assert version_in_use(models) == "1"
            free.set()
            assert looking.result(10)
            assert version_in_use(models) == "2"
            assert len(store.alive) == 2
            assert old.predict(1.0) == 1.0
        assert [model.seen_version for model in store.alive] == ["2"]
        assert models.info().bytes == 100


def test_where_both_versions_find_no_room_the_older_goes_first() -> None:
    store = a_store(1)
    with cached(store, max_models=1) as models:
        version_in_use(models)
        store.versions["0"] = "2"
        assert models.refresh("0")
        assert not store.alive
        assert version_in_use(models) == "2"
        assert store.most_models == 1


def test_a_newer_version_evicts_others_but_not_the_one_it_replaces() -> None:
    store = a_store(2)
    with cached(store, max_models=2) as models:
        version_in_use(models, "0")
        version_in_use(models, "1")
        store.versions["0"] = "2"
        assert models.refresh("0")
        assert {model.model_id + model.seen_version for model in store.alive} == {"02"}


def test_a_deleted_model_is_served_no_longer() -> None:
    store = a_store(1)
    with cached(store) as models:
        version_in_use(models)
        del store.sizes["0"]
        assert models.refresh("0")
        assert not store.alive
        assert models.known_version("0") is None
        with pytest.raises(UnknownModelError):
            version_in_use(models)


def test_a_newer_version_that_cannot_be_loaded_leaves_the_older_one(time: FakeClock) -> None:
    store = a_store(1)
    with cached(store, check_every="30s") as models:
        version_in_use(models)
        store.versions["0"] = "2"

        def torn(_: str) -> None:
            raise InvalidModelError("torn")

        store.before_load = torn
        with pytest.raises(InvalidModelError):
            models.refresh("0")
        time.advance(30)
        version_in_use(models)
        settle()
        assert version_in_use(models) == "1"
        info = models.info()
        assert (info.check_failures, info.refreshes, info.models, info.bytes) == (1, 0, 1, 100)


def test_a_store_that_is_down_leaves_the_models_that_are_there(time: FakeClock) -> None:
    store = a_store(1)
    with cached(store, check_every="30s") as models:
        version_in_use(models)
        store.is_down = True
        with pytest.raises(ModelStoreError):
            models.refresh("0")
        before = store.describes
        time.advance(3600)
        for _ in range(10):
            assert version_in_use(models) == "1"
            settle()
        assert store.describes == before + 1  # one look finds that it is still down
        assert models.store_is_down
        store.is_down, store.versions["0"] = False, "2"
        time.advance(30)
        version_in_use(models)  # no load is needed to find that it is back
        settle()
        assert version_in_use(models) == "2"
        assert not models.store_is_down


def test_looks_queued_behind_one_that_finds_the_store_down_do_not_ask(time: FakeClock) -> None:
    store = a_store(20)
    free = threading.Event()
    with cached(store, check_every="30s") as models:
        for model_id in store.sizes:
            version_in_use(models, model_id)
        store.is_down = True
        time.advance(30)
        for _ in range(SIZE):
            crew().submit(lambda: free.wait(10))
        for model_id in store.sizes:
            version_in_use(models, model_id)
        before = store.describes
        free.set()
        settle()
        assert store.describes - before <= SIZE  # those that ask at the same time
        assert models.info().check_failures == store.describes - before
        store.is_down, before = False, store.describes
        time.advance(1)
        for _ in range(2):  # one finds that it is back, then those that were not looked at are still due
            for model_id in store.sizes:
                version_in_use(models, model_id)
            settle()
            assert not models.store_is_down
        assert store.describes - before >= 20 - SIZE


def test_a_model_replaced_while_it_is_loaded_is_loaded_again() -> None:
    store = a_store(1)

    def replace(_: str) -> None:
        store.before_load = lambda _: None
        store.versions["0"] = "2"

    store.before_load = replace
    with cached(store) as models:
        assert version_in_use(models) == "2"
        assert store.loads["0"] == 2
        assert len(store.alive) == 1


def test_the_version_of_a_model_that_went_is_known_for_a_while(time: FakeClock) -> None:
    store = a_store(2)
    with cached(store, max_models=1, check_every="30s") as models:
        assert models.known_version("0") is None
        version_in_use(models, "0")
        version_in_use(models, "1")
        assert models.known_version("0") == "1"
        time.advance(30)
        assert models.known_version("0") is None
        assert models.known_version("1") == "1"


def test_a_version_that_was_seen_is_the_known_one_even_where_it_finds_no_room() -> None:
    store = a_store(1)
    with cached(store, max_models=1, check_every="30s") as models:
        version_in_use(models)
        store.versions["0"] = "2"
        assert models.refresh("0")
        assert models.known_version("0") == "2"


def test_looks_at_the_same_time_load_a_newer_version_once() -> None:
    store = a_store(1)
    free, loading = threading.Event(), threading.Event()

    def wait(_: str) -> None:
        loading.set()
        free.wait(10)

    with cached(store) as models, ThreadPoolExecutor(4) as pool:
        version_in_use(models)
        store.versions["0"], store.before_load = "2", wait
        looking = [pool.submit(models.refresh, "0") for _ in range(4)]
        assert loading.wait(10)
        models._freshness._check_every = 0.0  # a background look joins them
        version_in_use(models)
        free.set()
        found = [each.result(10) for each in looking]
        settle()
        assert found.count(True) == 1
        assert store.loads["0"] == 2
        assert store.doubled == []
        assert version_in_use(models) == "2"


def test_a_refresh_while_the_model_is_loaded_sees_what_came_meanwhile() -> None:
    store = a_store(1)
    free, loading = threading.Event(), threading.Event()

    class Remembering:
        """It answers with what it read before it waited."""

        def describe(self, model_id: str, /) -> Description:
            return store.describe(model_id)

        def get_model(self, model_id: str, /) -> Versioned:
            model = Versioned(store.versions[model_id])
            loading.set()
            free.wait(10)
            return model

    with cached(Remembering()) as models, ThreadPoolExecutor(2) as pool:
        first = pool.submit(version_of, models)
        assert loading.wait(10)
        store.versions["0"] = "2"
        refreshing = pool.submit(models.refresh, "0")
        free.set()
        assert first.result(10) == "1"
        refreshing.result(10)
        assert version_of(models) == "2"


class Versioned:
    """A model that says of what version it is."""

    def __init__(self, version: str) -> None:
        self.version = version

    def predict(self, _: object, /) -> str:
        return self.version


def version_of(models: CachedModelRepository) -> str:
    lease = models.lease("0")
    with lease:
        return lease.version


@pytest.mark.parametrize("store_says", ["", "etag-1"])
def test_a_models_own_word_for_its_version_does_not_have_it_loaded_again(store_says: str) -> None:
    loads: list[str] = []

    class Own:
        def get_model(self, model_id: str, /) -> Versioned:
            loads.append(model_id)
            return Versioned("of-its-author")

    class Telling(Own):
        def describe(self, _: str, /) -> Description:
            return Description(store_says)

    with cached(Telling() if store_says else Own(), check_every=1e-6) as models:
        for _ in range(5):
            assert version_of(models) == (store_says or "of-its-author")
            models.refresh("0")
            settle()
    assert len(loads) == 1


def test_a_version_changed_under_load_is_never_mixed_and_fails_nobody() -> None:
    store = a_store(2, 10)
    stop = threading.Event()
    seen: list[str] = []

    def ask(models: CachedModelRepository) -> None:
        while not stop.is_set():
            seen.append(version_in_use(models))

    with cached(store, max_models=3) as models, ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, models) for _ in range(4)]
        for number in range(2, 60):
            store.versions["0"] = str(number)
            models.refresh("0")
            assert version_in_use(models) == str(number)
        stop.set()
        for each in asking:
            each.result(10)
        assert [model.seen_version for model in store.alive] == ["59"]
    assert len(set(seen)) > 2
    assert isinstance(store, Store)
