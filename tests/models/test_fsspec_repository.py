from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcache.errors import (
    ConfigurationError,
    InvalidModelError,
    ModelStoreError,
    UnknownModelError,
    UntrustedModelError,
)
from mlcache.models import (
    CachedModelRepository,
    CallableModel,
    Describes,
    Fetches,
    FsspecModelRepository,
    Model,
    ModelRepository,
    Pings,
    SklearnModel,
)
from tests.models.tenants import model, rows

pytestmark = pytest.mark.usefixtures("s3_server")  # it starts what lasts before a test looks for leaks


def text_model(data: bytes, version: str) -> Model:
    """A model whose answer is what is in its file, which has to be one letter over and over."""
    assert len(set(data)) == 1, "a torn file was read"
    return CallableModel(lambda _: data, version=version)


def texts(url: Any, **options: Any) -> FsspecModelRepository:
    return FsspecModelRepository(url, readers={".txt": text_model}, **options)


def test_what_is_put_there_comes_back(repository: FsspecModelRepository) -> None:
    assert isinstance(repository, ModelRepository)
    assert isinstance(repository, Describes)
    assert isinstance(repository, Fetches)
    assert isinstance(repository, Pings)
    repository.ping()
    for number in range(4):
        version = repository.put_model(f"tenant {number}", model(number))
        description = repository.describe(f"tenant {number}")
        assert description.version == version
        assert description.size == len(repository._files.read(repository._find(f"tenant {number}").path))
    for number in range(4):
        read = repository.get_model(f"tenant {number}")
        assert np.array_equal(read.predict(rows(number, 0)), model(number).predict(rows(number, 0)))
    assert sorted(repository.model_ids()) == [f"tenant {number}" for number in range(4)]


def test_the_version_changes_with_the_content_and_nothing_else(repository: FsspecModelRepository) -> None:
    one, two = model(0).to_skops(), model(1).to_skops()
    first = repository.put_model("a", one, ending=".skops")
    assert repository.put_model("a", one, ending=".skops") == first
    second = repository.put_model("a", two, ending=".skops")
    assert second != first
    assert repository.get_model("a").version == second  # type: ignore[attr-defined]
    assert repository.put_model("b", two, ending=".skops") == second


def test_the_method_that_answers_is_part_of_the_model(repository: FsspecModelRepository) -> None:
    estimator = model(0).estimator
    for method in ("predict_proba", "predict", "decision_function"):
        version = repository.put_model("m", SklearnModel(estimator, method=method))
        assert version == repository.describe("m").version
        assert version.endswith(method) == (method != "predict")
        right = getattr(estimator, method)(rows(0, 0))
        assert np.array_equal(repository.get_model("m").predict(rows(0, 0)), right)


def test_what_is_not_there_is_unknown(repository: FsspecModelRepository) -> None:
    for name in ("a", "", "x" * 300):
        with pytest.raises(UnknownModelError):
            repository.get_model(name)
        with pytest.raises(UnknownModelError):
            repository.describe(name)
    assert not repository.delete_model("a")
    repository.put_model("a", model(0))
    assert repository.delete_model("a")
    with pytest.raises(UnknownModelError):
        repository.get_model("a")
    assert list(repository.model_ids()) == []


@pytest.mark.parametrize(
    "model_id", ["../secret", "..", ".", "a/b", "/etc/passwd", "ü é", "a%2Fb", "a\\b", "C:x"]
)
def test_no_id_is_a_path(model_id: str, tmp_path: Path) -> None:
    inside = tmp_path / "models"
    inside.mkdir()
    (tmp_path / "secret.txt").write_bytes(b"aaa")
    repository = texts(inside)
    with pytest.raises(UnknownModelError):
        repository.get_model(model_id)
    repository.put_model(model_id, b"bbb", ending=".txt")
    assert repository.get_model(model_id).predict(None) == b"bbb"
    assert list(repository.model_ids()) == [model_id]
    assert [each.name for each in tmp_path.iterdir()] != ["models"]
    assert len(list(inside.iterdir())) == 1


def test_a_plain_file_is_a_model_and_its_version_follows_it(tmp_path: Path) -> None:
    repository = texts(tmp_path)
    file = tmp_path / "a.txt"
    file.write_bytes(b"one"[:1] * 10)
    os.utime(file, (1000, 1000))
    first = repository.describe("a")
    assert first.size == 10
    assert repository.get_model("a").version == first.version  # type: ignore[attr-defined]
    os.utime(file, (1001, 1001))
    assert repository.describe("a").version != first.version
    file.write_bytes(b"x" * 11)
    os.utime(file, (1000, 1000))
    assert repository.describe("a").version != first.version
    assert list(repository.model_ids()) == ["a"]
    assert repository.delete_model("a")
    assert not file.exists()


def test_a_plain_file_in_s3_has_its_etag_for_a_version(s3: tuple[Any, str]) -> None:
    import s3fs

    server, url = s3
    fs: Any = s3fs.S3FileSystem(skip_instance_cache=True, **server.options)
    repository = texts(url, storage_options=server.options)
    fs.pipe_file(f"{url}/a.txt", b"a" * 5)
    first = repository.describe("a").version
    assert first == fs.info(f"{url}/a.txt")["ETag"].strip('"')
    fs.pipe_file(f"{url}/a.txt", b"b" * 5)
    assert repository.describe("a").version != first
    assert repository.get_model("a").predict(None) == b"bbbbb"
    fs.close_session(fs.loop, fs._s3)
    repository.close()


def _blob(folder: Path) -> Path:
    (blob,) = (file for file in folder.iterdir() if file.suffix == ".txt")
    return blob


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: _blob(folder).write_bytes(b"a" * 5),
        lambda folder: _blob(folder).write_bytes(b"b" * 9),
        lambda folder: _blob(folder).unlink(),
        lambda folder: (folder / "model.json").write_bytes((folder / "model.json").read_bytes()[:-5]),
        lambda folder: (folder / "model.json").write_bytes(b""),
        lambda folder: (folder / "model.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "model.json").write_text('{"file": 3}'),
    ],
)
def test_a_torn_or_changed_model_is_never_served(damage: Callable[[Path], object], tmp_path: Path) -> None:
    repository = texts(tmp_path)
    repository.put_model("a", b"a" * 9, ending=".txt")
    damage(tmp_path / "a")
    with pytest.raises(InvalidModelError):
        repository.get_model("a")


def test_a_manifest_that_points_elsewhere_reads_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "secret.txt").write_bytes(b"aaa")
    repository = texts(tmp_path / "models")
    repository.put_model("a", b"aaa", ending=".txt")
    manifest = tmp_path / "models" / "a" / "model.json"
    blob = _blob(tmp_path / "models" / "a").name
    manifest.write_text(manifest.read_text().replace(blob, "../../secret.txt"))
    with pytest.raises(InvalidModelError, match="names a file that nobody reads"):
        repository.get_model("a")


def test_putting_a_damaged_model_again_heals_it(tmp_path: Path) -> None:
    repository = texts(tmp_path)
    repository.put_model("a", b"a" * 9, ending=".txt")
    _blob(tmp_path / "a").write_bytes(b"a")
    repository.put_model("a", b"a" * 9, ending=".txt")
    assert repository.get_model("a").predict(None) == b"a" * 9


def test_older_files_are_removed_but_the_last_one() -> None:
    repository = texts("memory://older/models")
    for letter in b"abcd":
        repository.put_model("a", bytes([letter]) * 3, ending=".txt")
    assert len(repository._files.paths("a")) == 3
    repository.delete_model("a")


def test_a_version_that_comes_back_is_not_removed_as_the_oldest(tmp_path: Path) -> None:
    repository = texts(tmp_path)
    for letter in b"aabbaacab":
        repository.put_model("a", bytes([letter]) * 3, ending=".txt")
        assert repository.get_model("a").predict(None) == bytes([letter]) * 3


def test_whoever_puts_a_model_leaves_alone_what_another_is_putting(tmp_path: Path) -> None:
    one, other = texts(tmp_path), texts(tmp_path)
    one.put_model("a", b"a", ending=".txt")
    put = other._files.put

    def interrupted(path: str, data: bytes) -> None:
        put(path, data)
        if not path.endswith("model.json"):
            one.put_model("a", b"cc", ending=".txt")

    other._files.put = interrupted  # type: ignore[method-assign]
    other.put_model("a", b"bbb", ending=".txt")
    assert one.get_model("a").predict(None) == b"bbb"


def test_a_torn_manifest_is_healed_by_putting_the_model_again(tmp_path: Path) -> None:
    repository = texts(tmp_path)
    repository.put_model("a", b"www", ending=".txt")
    (tmp_path / "a" / "model.json").write_bytes(b'{"fil')
    repository.put_model("a", b"www", ending=".txt")
    assert repository.get_model("a").predict(None) == b"www"


def test_readers_see_whole_models_while_they_are_replaced(repository: FsspecModelRepository) -> None:
    repository._readers[".txt"] = text_model
    letters = [bytes([letter]) * 200_000 for letter in b"abcdefghij"]
    versions = {repository.put_model("a", each, ending=".txt"): each for each in letters}
    stop = threading.Event()

    def read() -> set[bytes]:
        seen = set()
        while not stop.is_set():
            got: Any = repository.get_model("a")
            assert got.predict(None) == versions[got.version]
            seen.add(got.version)
        return seen

    with ThreadPoolExecutor(3) as pool:
        reading = [pool.submit(read) for _ in range(3)]
        for _ in range(3):
            for each in letters:
                repository.put_model("a", each, ending=".txt")
        stop.set()
        assert all(each.result(30) for each in reading)


def test_a_plain_file_that_grows_while_it_is_read_is_read_again_or_refused(tmp_path: Path) -> None:
    repository = texts(tmp_path)
    file = tmp_path / "a.txt"
    file.write_bytes(b"a" * 10)
    whole = repository._files.read
    grown = iter([b"b", b"c"])

    def read(path: str, size: int = 0) -> bytes:
        data = whole(path, size)
        if path.endswith(".txt") and (letter := next(grown, None)):
            file.write_bytes(letter * (len(data) + 1))
        return data

    repository._files.read = read  # type: ignore[method-assign]
    assert repository.get_model("a").predict(None) == b"c" * 12
    grown = iter([b"d", b"e", b"f"])
    with pytest.raises(InvalidModelError, match="changes each time"):
        repository.get_model("a")


def test_what_was_described_is_fetched_with_one_look(
    repository: FsspecModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.put_model("0", model(0))
    looks: list[str] = []
    look = repository._find

    def noted(model_id: str) -> Any:
        looks.append(model_id)
        return look(model_id)

    monkeypatch.setattr(repository, "_find", noted)
    with CachedModelRepository(repository) as models, models.lease("0") as loaded:
        assert np.array_equal(loaded.predict(rows(0, 0)), model(0).predict(rows(0, 0)))
    assert looks == ["0"]


def test_a_load_from_s3_takes_two_requests(s3: tuple[Any, str], monkeypatch: pytest.MonkeyPatch) -> None:
    server, url = s3
    repository = FsspecModelRepository(url, storage_options=server.options)
    repository.put_model("0", model(0))
    fs = repository._files._open()[0]
    requests: list[str] = []
    call = fs._call_s3

    async def counted(method: str, *arguments: Any, **options: Any) -> Any:
        requests.append(method)
        return await call(method, *arguments, **options)

    monkeypatch.setattr(fs, "_call_s3", counted)
    with CachedModelRepository(repository) as models, models.lease("0"):
        assert requests == ["get_object", "get_object"]
    repository.close()


def test_an_empty_file_in_s3_is_torn_and_no_store_that_is_down(s3: tuple[Any, str]) -> None:
    server, url = s3
    repository = FsspecModelRepository(url, storage_options=server.options)
    for name in ("0.skops", "1/model.json"):
        repository._files.put(name, b"")
        with pytest.raises(InvalidModelError):
            repository.get_model(name[0])
    repository.close()


def test_what_s3_refuses_is_no_empty_file(s3: tuple[Any, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from s3fs.errors import translate_boto_error

    class RefusedError(Exception):
        response = {"Error": {"Code": "InvalidRequest", "Message": "not so, please"}}  # noqa: RUF012

    server, url = s3
    repository = FsspecModelRepository(url, storage_options=server.options)

    async def refuse(*_: Any, **__: Any) -> Any:
        raise translate_boto_error(RefusedError())

    fs, _ = repository._files._open()
    monkeypatch.setattr(fs, "_call_s3", refuse)
    with pytest.raises(ModelStoreError, match="not so, please"):
        repository._files.read("0.skops")
    repository.close()


def test_a_large_file_is_read_whole(
    repository: FsspecModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlcache.models.filesystem.IN_PARTS", 100)
    repository.put_model("0", model(0))
    found = repository.get_model("0")
    assert np.array_equal(found.predict(rows(0, 0)), model(0).predict(rows(0, 0)))


def test_what_was_replaced_since_it_was_described_is_what_it_says_it_is(
    repository: FsspecModelRepository,
) -> None:
    version = repository.put_model("0", model(0))
    described = repository.describe("0")
    newer = repository.put_model("0", model(4))
    assert _version(repository.fetch("0", described)) == version  # its file stays for those who know of it
    newest = repository.put_model("0", model(8))
    assert _version(repository.fetch("0", described)) == newest
    assert len({version, newer, newest}) == 3
    repository.delete_model("0")
    with pytest.raises(UnknownModelError):
        repository.fetch("0", described)


def _version(found: Model) -> str:
    assert isinstance(found, SklearnModel)
    return found.version


def test_joblib_files_and_unknown_types_need_trust(tmp_path: Path) -> None:
    from sklearn.tree import DecisionTreeClassifier

    from mlcache.models import SklearnModel

    frame = rows(0, 0, 20)
    tree = SklearnModel(DecisionTreeClassifier().fit(frame, range(20)))
    plain, trusting = FsspecModelRepository(tmp_path), FsspecModelRepository(tmp_path, trusted=True)
    naming = FsspecModelRepository(tmp_path, trusted=["sklearn.tree._tree.Tree"])
    plain.put_model("j", tree.to_joblib(), ending=".joblib")
    plain.put_model("s", tree)
    for each in ("j", "s"):
        with pytest.raises(UntrustedModelError):
            plain.get_model(each)
        assert np.array_equal(trusting.get_model(each).predict(frame), np.arange(20))
    assert np.array_equal(naming.get_model("s").predict(frame), np.arange(20))
    with pytest.raises(UntrustedModelError):
        naming.get_model("j")


def test_onnx_files_are_read_too(tmp_path: Path) -> None:
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    from sklearn.linear_model import LinearRegression

    x = np.arange(10, dtype=np.float32).reshape(-1, 1)
    estimator = LinearRegression().fit(x, 2 * x.ravel())
    repository = FsspecModelRepository(tmp_path)
    data = skl2onnx.to_onnx(estimator, x[:1]).SerializeToString()
    version = repository.put_model("a", data, ending=".onnx")
    read: Any = repository.get_model("a")
    assert read.version == version
    assert np.allclose(read.predict(x).ravel(), 2 * x.ravel(), atol=1e-4)


def test_a_store_that_is_down_is_neither_unknown_nor_silent(own_s3: tuple[Any, str]) -> None:
    server, url = own_s3
    repository = FsspecModelRepository(url, storage_options=server.options)
    repository.put_model("a", model(0))
    server.stop()
    try:
        for ask in (repository.get_model, repository.describe, lambda _: repository.ping()):
            with pytest.raises(ModelStoreError, match="does not answer"):
                ask("a")
    finally:
        server.start()
    repository.ping()
    assert repository.get_model("a").predict(rows(0, 0)) is not None
    repository.close()


def test_a_folder_that_is_gone_is_a_store_that_is_down(tmp_path: Path) -> None:
    repository = FsspecModelRepository(tmp_path / "mounted")
    with pytest.raises(ModelStoreError, match="there is no folder"):
        repository.get_model("a")
    with pytest.raises(ModelStoreError):
        repository.ping()
    (tmp_path / "mounted").mkdir()
    with pytest.raises(UnknownModelError):
        repository.get_model("a")


@pytest.mark.parametrize(
    ("model", "ending", "says"),
    [(b"abc", None, "ending"), (b"abc", ".exe", ".skops"), (object(), None, "no format is known")],
)
def test_what_nobody_could_read_is_not_put(
    model: object, ending: str | None, says: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        FsspecModelRepository(tmp_path).put_model("a", model, ending=ending)
    assert list(tmp_path.iterdir()) == []


def test_a_url_that_nobody_opens_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="nonsense://"):
        FsspecModelRepository("nonsense://models")
    with pytest.raises(ConfigurationError, match="endings"):
        FsspecModelRepository("memory://models", readers={"txt": text_model})


def test_what_is_left_of_an_upload_that_was_cut_short_is_no_model_and_can_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = texts(tmp_path)
    put = repository._files.put

    def cut(path: str, data: bytes) -> None:
        if path.endswith("model.json"):
            raise ModelStoreError("the line was cut")
        put(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(repository._files, "put", cut)
        with pytest.raises(ModelStoreError):
            repository.put_model("a", b"aaa", ending=".txt")
    assert list(repository.model_ids()) == []
    assert repository.delete_model("a")
    assert [*tmp_path.iterdir()] == []
    assert not repository.delete_model("a")


def test_a_model_whose_manifest_is_torn_can_be_deleted(tmp_path: Path) -> None:
    repository = texts(tmp_path)
    repository.put_model("b", b"bbb", ending=".txt")
    (tmp_path / "b" / "model.json").write_text("{")
    assert repository.delete_model("b")
    assert [*tmp_path.iterdir()] == []


def test_deleting_a_model_brings_no_plain_file_of_before_back(repository: FsspecModelRepository) -> None:
    texts_too = FsspecModelRepository(
        repository._files._url, storage_options=repository._files._options, readers={".txt": text_model}
    )
    texts_too._files.put("c.txt", b"old")
    with pytest.raises(AssertionError, match="torn"):  # as the letters differ: it is found, that is
        texts_too.get_model("c")
    texts_too.put_model("c", b"ccc", ending=".txt")
    assert list(texts_too.model_ids()) == ["c"]
    assert texts_too.delete_model("c")
    with pytest.raises(UnknownModelError):
        texts_too.get_model("c")
    assert not texts_too.delete_model("c")
    texts_too.close()
