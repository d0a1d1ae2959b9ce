"""Models in a folder, in S3, or in whatever else fsspec opens."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from mlcache.errors import ConfigurationError, InvalidModelError, ModelStoreError, UnknownModelError
from mlcache.models.filesystem import FileSystem, id_of_name, name_of_model
from mlcache.models.formats import Reader, Trusted, readers_of, written
from mlcache.models.protocols import Description, Model
from mlcache.models.sklearn_model import SklearnModel

MANIFEST = "model.json"
"""The file that says which of the files beside it is the model."""

TRIES = 3
"""Times that a model is read, as it may be replaced while it is."""


class Manifest(msgspec.Struct, frozen=True):
    """Which file is the model, and what it holds.

    Args:
        file: name of the file beside the manifest.
        size: bytes in it.
        sha256: of them, in hexadecimal digits.
        older: name of the file that was the model before, which is still there; empty if there is none.
        method: of the estimator, which answers, where that is not ``predict``.
    """

    file: str
    size: int
    sha256: str
    older: str = ""
    method: str = ""

    @property
    def version(self) -> str:
        """Changes with what the model answers and with nothing else."""
        return f"{self.sha256[:32]}-{self.method}".rstrip("-")


class Stored(Description, frozen=True):
    """What is known of a model, and where it lies.

    Args:
        path: of its file.
        manifest: of it; None for a plain file.
    """

    path: str = ""
    manifest: Manifest | None = None


class _ReplacedError(Exception):
    """The model was replaced while it was read."""


class FsspecModelRepository:
    """Models in files.

    ``put_model`` writes a file that is named by its hash and then, in one step, a manifest that points to it:
    readers see the older model or the newer one, whole, and check its size and hash. A plain file
    ``<model id>.skops``, ``.onnx`` or ``.joblib``, which others have put there, is a model too: its version
    is its ETag, else its time and size, and a reader makes sure that it did not change while it was read.

    Args:
        url: of the folder: a path, ``"s3://bucket/models"``, anything that fsspec opens.
        storage_options: of the file system, such as ``{"endpoint_url": ...}`` of S3.
        trusted: True allows joblib files, which can run any code of whoever wrote them, and all types in
            skops files; names of types allow these in skops files.
        readers: by ending, such as ``".txt"``, what makes a model from a file's bytes and its version.

    Raises:
        ConfigurationError: the URL or an ending cannot be understood.
        MissingExtraError: fsspec, or what it needs for this URL, is not installed.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        *,
        storage_options: Mapping[str, Any] | None = None,
        trusted: Trusted = False,
        readers: Mapping[str, Reader] | None = None,
    ) -> None:
        self._files = FileSystem(os.fspath(url), storage_options)
        self._readers = readers_of(trusted, readers)

    def describe(self, model_id: str, /) -> Description:
        """The version and size of a model; it raises as ``get_model`` does."""
        return self._find(model_id)

    def get_model(self, model_id: str, /) -> Model:
        """The model.

        Raises:
            UnknownModelError: there is no such model.
            UntrustedModelError: reading it could run code that nobody has allowed.
            InvalidModelError: what is stored is torn, was changed, or is no model.
            ModelStoreError: the file system does not answer.
        """
        return self.fetch(model_id, self._find(model_id))

    def fetch(self, model_id: str, described: Description, /) -> Model:
        """The model that was described, or what has replaced it since; it raises as ``get_model`` does."""
        stored = described if isinstance(described, Stored) else self._find(model_id)
        for _ in range(TRIES):
            with suppress(_ReplacedError):
                return self._open(stored)
            stored = self._find(model_id)
        raise InvalidModelError(
            f"model {model_id!r} in {self._files} is torn or was changed: its file does not hold what it "
            "should, or changes each time that it is read"
        )

    def put_model(self, model_id: str, model: object, *, ending: str | None = None) -> str:
        """Store a model; readers find it once it is there as a whole.

        Args:
            model_id: under which it is found.
            model: a ``SklearnModel``, or the bytes of a file.
            ending: of that file, such as ``".onnx"``.

        Returns:
            Its version.

        Raises:
            ConfigurationError: it is neither, or bytes of an ending that nobody reads.
            ModelStoreError: the file system does not answer.
        """
        data, ending = (model, ending or "") if isinstance(model, bytes) else written(model)
        if ending not in self._readers:
            raise ConfigurationError(f"ending is {ending!r}: give one of {', '.join(self._readers)}")
        digest = hashlib.sha256(data).hexdigest()
        folder, before = name_of_model(model_id), None
        with suppress(InvalidModelError):  # a torn manifest is replaced like any other
            before = self._manifest(model_id)
        file, older = digest[:32] + ending, before.file if before else ""
        if before and file == older:
            older = before.older
        method = model.method if isinstance(model, SklearnModel) and model.method != "predict" else ""
        manifest = Manifest(file, len(data), digest, older, method)
        self._files.put(f"{folder}/{file}", data)
        self._files.put(f"{folder}/{MANIFEST}", msgspec.json.encode(manifest))
        # What was the model until now stays: somebody may have read the manifest and not yet the file.
        # So does what we know nothing of: somebody else may be putting this model, too.
        if before and before.older not in ("", file, older):
            self._remove_quietly(f"{folder}/{before.older}")
        return manifest.version

    def delete_model(self, model_id: str) -> bool:
        """Remove all that is stored of a model, whole or not; whether there was anything."""
        try:
            name = name_of_model(model_id)
        except UnknownModelError:
            return False
        # The plain files first: else one of them would be the model for a moment.
        gone = [self._files.remove(name + ending) for ending in self._readers]
        gone.append(self._files.remove_folder(name))
        if not any(gone):
            self._files.check_root()
        return any(gone)

    def model_ids(self) -> Iterator[str]:
        """The ids of all models, in no order.

        Raises:
            ModelStoreError: the file system does not answer.
        """
        self._files.check_root()
        yield from {id_of_name(name) for path in self._files.paths() if (name := self._name_in(path))}

    def ping(self) -> None:
        """Ask for a sign of life.

        Raises:
            ModelStoreError: there is none.
        """
        self._files.ping()

    def close(self) -> None:
        """Close connections; they are opened anew when they are needed."""
        self._files.close()

    def _name_in(self, path: str) -> str:
        """The name of the model that lies at a path; empty if none does."""
        folder, _, file = path.rpartition("/")
        if not folder:
            ending = _ending(file)
            return file.removesuffix(ending) if ending in self._readers else ""
        return folder if file == MANIFEST and "/" not in folder else ""

    def _find(self, model_id: str) -> Stored:
        manifest = self._manifest(model_id)
        name = name_of_model(model_id)
        if manifest is not None:
            return Stored(manifest.version, manifest.size, f"{name}/{manifest.file}", manifest)
        for ending in self._readers:
            with suppress(FileNotFoundError):
                return Stored(*self._files.version_and_size(name + ending), name + ending)
        self._files.check_root()
        raise UnknownModelError(f"there is no model {model_id!r} in {self._files}")

    def _manifest(self, model_id: str) -> Manifest | None:
        path = f"{name_of_model(model_id)}/{MANIFEST}"
        try:
            manifest = msgspec.json.decode(self._files.read(path), type=Manifest)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidModelError(f"{path} in {self._files} is torn: {error}") from error
        beside = [manifest.file, manifest.older or manifest.file]
        if beside != list(map(name_of_model, beside)) or _ending(manifest.file) not in self._readers:
            raise InvalidModelError(f"{path} names a file that nobody reads: {manifest.file!r}")
        return manifest

    def _open(self, stored: Stored) -> Model:
        model = self._readers[_ending(stored.path)](self._read(stored), stored.version)
        if stored.manifest and stored.manifest.method and isinstance(model, SklearnModel):
            model.method = stored.manifest.method
        return model

    def _read(self, stored: Stored) -> bytes:
        try:
            data = self._files.read(stored.path, stored.size or 0)
            if stored.manifest is None:
                whole = self._files.version_and_size(stored.path) == (stored.version, len(data))
            else:
                whole = hashlib.sha256(data).hexdigest() == stored.manifest.sha256
        except FileNotFoundError:
            raise _ReplacedError from None
        if not whole or len(data) != stored.size:
            raise _ReplacedError
        return data

    def _remove_quietly(self, path: str) -> None:
        with suppress(ModelStoreError):  # what is left behind is in nobody's way
            self._files.remove(path)

    def __repr__(self) -> str:
        return f"FsspecModelRepository({str(self._files)!r})"


def _ending(name: str) -> str:
    return os.path.splitext(name)[1]  # noqa: PTH122 - it is a name in any file system
