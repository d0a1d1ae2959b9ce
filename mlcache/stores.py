"""From what the user and the environment say about backends to the stores themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from mlcache import sealing, settings
from mlcache.backends.address import Address, Defaults, hide_passwords
from mlcache.backends.open import Foreign, adopt, open_address, overrule, parse
from mlcache.backends.protocol import AnyBackend, Backend, BytesBackend, Compresses, InFolder
from mlcache.errors import ConfigurationError, MissingExtraError
from mlcache.settings import Settings
from mlcache.warning import warn

if TYPE_CHECKING:
    from mlcache.codec import FrameCodec, Signer

BackendSpec = str | AnyBackend | Foreign | Sequence[str | AnyBackend | Foreign] | None
Returns = Literal["readonly", "copy", "reference"]


def check_backend(spec: BackendSpec) -> tuple[Address | AnyBackend, ...] | None:
    """The backends that ``spec`` names, checked but not opened.

    Raises:
        ConfigurationError: it is none of the forms that a backend may have.
    """
    if spec is None:
        return None
    if isinstance(spec, str):
        return tuple(parse(spec))
    parts = list(spec) if isinstance(spec, list | tuple) else [spec]
    if not parts:
        raise ConfigurationError("backend is an empty list: leave it out for the default")
    checked: list[Address | AnyBackend] = []
    for part in parts:
        checked += parse(part) if isinstance(part, str) else [_check_object(part)]
    return tuple(checked)


def open_backend(url: str) -> AnyBackend:
    """Open the backend at ``url``, to share it between functions or to look into it.

    Args:
        url: a name or a URL, such as ``"lru?max_bytes=1GiB"`` or ``"disk:///var/cache/ml"``.
            What it does not say comes from ``MLCACHE_DIR`` and ``MLCACHE_MAX_BYTES``.

    Raises:
        ConfigurationError: it is not understood, or names several.
        MissingExtraError: it needs a package that is not installed.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"open_backend takes a name such as 'lru' or a URL, not {url!r}")
    addresses = parse(url)
    if len(addresses) > 1:
        shown = hide_passwords(url)
        raise ConfigurationError(f"{shown!r} names several backends: open each, and pass them as a list")
    return open_address(addresses[0], _defaults(settings.read()))


def _check_object(backend: Any) -> AnyBackend:
    adopted = adopt(backend)
    return _check_backend(backend) if adopted is None else adopted


def _check_backend(backend: Any) -> AnyBackend:
    lacks = [name for name in ("get", "put", "delete") if not callable(getattr(backend, name, None))]
    lacks += [name for name in ("name", "blocking") if not hasattr(backend, name)]
    if getattr(backend, "holds", None) not in ("entries", "bytes"):
        lacks.append("holds, which says 'entries' or 'bytes'")
    if isinstance(backend, type) or lacks:
        why = "it is a class" if isinstance(backend, type) else f"it lacks {', '.join(lacks)}"
        raise ConfigurationError(
            f"backend is {backend!r}, which is no backend ({why}): give a name such as 'lru', "
            "a URL such as 'disk:///var/cache/ml', an object with get, put and delete, or a list of these"
        )
    return cast("AnyBackend", backend)


def open_stores(
    backends: str | tuple[Address | AnyBackend, ...],
    settings: Settings,
    returns: Returns,
    forced: Mapping[str, Any] | None = None,
) -> list[Backend]:
    """The backends, opened, each as one of entries.

    Args:
        backends: addresses are opened; an object stays as it is, as others may share it.
        settings: say what the addresses do not.
        returns: what callers get.
        forced: settings that hold whatever the addresses say.
    """
    return [_as_entries(each, settings, returns) for each in _open(backends, settings, forced or {})]


def _open(
    backends: str | tuple[Address | AnyBackend, ...], settings: Settings, forced: Mapping[str, Any]
) -> list[AnyBackend]:
    listed = tuple(parse(backends)) if isinstance(backends, str) else backends
    decided = Defaults(forced.get("directory"), forced.get("max_bytes"))
    return [
        open_address(overrule(each, decided), _defaults(settings)) if isinstance(each, Address) else each
        for each in listed
    ]


def _as_entries(backend: AnyBackend, settings: Settings, returns: Returns) -> Backend:
    if backend.holds == "entries":
        return backend
    from mlcache.backends.encoded import Encoded  # which a cache in memory can do without

    return Encoded(backend, _codec(backend, settings), sealing.SEALS[returns])


def _defaults(settings: Settings) -> Defaults:
    return Defaults(settings.directory, settings.max_bytes)


def _codec(backend: BytesBackend, settings: Settings) -> FrameCodec:
    """Pickles are signed with the secret; without one, only on disk, with a key of this user's own."""
    from mlcache.codec import FrameCodec, Signer  # which a cache in memory can do without

    compress = isinstance(backend, Compresses) and backend.compress
    if settings.secret is not None:
        return FrameCodec(signer=Signer(settings.secret.encode()), compress=compress)
    signer = _local_signer() if isinstance(backend, InFolder) else None
    return FrameCodec(signer=signer, compress=compress)


def _local_signer() -> Signer | None:
    """The signer whose key lies outside of every cache folder, so that writing to one is not enough."""
    try:
        import platformdirs
    except ImportError:
        raise MissingExtraError("backend 'disk'", "platformdirs", "disk") from None
    from pathlib import Path

    from mlcache.codec import Signer

    try:
        return Signer.from_file(Path(platformdirs.user_data_dir("mlcache")) / "pickle.key")
    except (OSError, ConfigurationError) as error:
        warn(f"nothing can be pickled to disk: {error}")
        return None
