"""Settings from the environment, read once and checked.

``MLCACHE_<OPTION>`` holds for every function that does not say otherwise in its code;
``MLCACHE__<NAME>__<OPTION>`` holds for one function whatever its code says, and whatever a
URL says, so that whoever runs a service has the last word. ``<NAME>`` is the function's name or its
qualified name with its module, in capitals, with ``_`` for whatever else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from mlcache import units
from mlcache.backends.address import hide_passwords
from mlcache.backends.open import parse as parse_backends
from mlcache.errors import ConfigurationError
from mlcache.keys import hashing
from mlcache.warning import warn

PREFIX = "MLCACHE_"


class Settings(msgspec.Struct, frozen=True):
    """What the environment says; None where it says nothing.

    Args:
        backend: names or URLs of backends, with commas between tiers.
        ttl: lifetime of entries in seconds.
        directory: folder of the disk backend.
        max_bytes: bound of each store.
        secret: signs what has to be pickled.
        disabled: call the functions themselves.
        strict: let what fails in a cache fail the call.
        offload_workers: number of worker processes.
        wait: seconds to wait for another process that computes the same.
        hash: what keys are made with; see ``hash_asked_for``.
        check: ``"mutation"``: warn of functions that change their arguments.
        trace: file that calls are recorded to.
    """

    backend: str | None = None
    ttl: float | None = None
    directory: str | None = None
    max_bytes: int | None = None
    secret: str | None = None
    disabled: bool = False
    strict: bool = False
    offload_workers: int | None = None
    wait: float | None = None
    hash: str | None = None
    check: str | None = None
    trace: str | None = None

    def __repr__(self) -> str:
        said = {name: getattr(self, name) for name in self.__struct_fields__ if getattr(self, name)}
        if "secret" in said:
            said["secret"] = "..."  # noqa: S105 - so that no log shows it
        if "backend" in said:
            said["backend"] = hide_passwords(said["backend"])
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in said.items())})"


def _truth(text: str, what: str) -> bool:
    lowered = text.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off", ""):
        return False
    raise ConfigurationError(f"{what} is {text!r}: give 1 or 0, true or false, yes or no, on or off")


def _workers(text: str, what: str) -> int:
    if not text.strip().isdecimal():
        raise ConfigurationError(f"{what} is {text!r}: give a whole number of worker processes, 0 for none")
    return int(text)


def _text(text: str, what: str) -> str:
    if not text.strip():
        raise ConfigurationError(f"{what} is empty: give it a value or unset it")
    return text.strip()


def _backend(text: str, what: str) -> str:
    text = _text(text, what)
    try:
        parse_backends(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{what}: {error}") from None
    return text


def _secret(text: str, what: str) -> str:
    text = _text(text, what)
    from mlcache.codec import Signer

    try:
        Signer(text.encode())
    except ConfigurationError as error:
        raise ConfigurationError(f"{what}: {error}") from None
    return text


def _hash(text: str, what: str) -> str:
    name = text.strip().lower()
    if name not in ("xxh3", "blake3"):
        raise ConfigurationError(
            f"{what} is {text!r}: give xxh3, which is the fastest, or blake3, which withstands attackers"
        )
    return name


def _check(text: str, what: str) -> str | None:
    name = text.strip().lower()
    if name not in ("mutation", "none"):
        raise ConfigurationError(
            f"{what} is {text!r}: give mutation, to be warned of changed arguments, or none"
        )
    return None if name == "none" else name


_OPTIONS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "BACKEND": ("backend", _backend),
    "TTL": ("ttl", lambda text, what: units.seconds(text, what=what)),
    "DIR": ("directory", _text),
    "MAX_BYTES": ("max_bytes", lambda text, what: units.size(text, what=what)),
    "SECRET": ("secret", _secret),
    "DISABLED": ("disabled", _truth),
    "STRICT": ("strict", _truth),
    "WAIT": ("wait", lambda text, what: units.seconds(text, what=what)),
    "OFFLOAD_WORKERS": ("offload_workers", _workers),
    "HASH": ("hash", _hash),
    "CHECK": ("check", _check),
    "TRACE": ("trace", _text),
}


def read(environ: Mapping[str, str] | None = None) -> Settings:
    """What holds for every function.

    Raises:
        ConfigurationError: a value that cannot be understood; it names the variable.
    """
    environ = os.environ if environ is None else environ
    _warn_of_unknown(environ)
    return Settings(**_collect(environ, PREFIX))


def read_for(names: tuple[str, ...], environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What holds for one function alone, by field of ``Settings``.

    Args:
        names: what the function may be called, the most particular last, which then wins.
        environ: the environment; None: this process's.

    Raises:
        ConfigurationError: an option that there is not, or a value that cannot be understood.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, Any] = {}
    for name in names:
        prefix = f"{PREFIX}_{capitals(name)}__"
        for variable in environ:
            if variable.startswith(prefix):
                _check_option(variable, variable.removeprefix(prefix))
        found |= _collect(environ, prefix)
    return found


def hash_asked_for(environ: Mapping[str, str] | None = None) -> tuple[str, str | None]:
    """The hash function that keys are to be made with, and the secret that they depend on.

    Raises:
        ConfigurationError: ``MLCACHE_HASH`` or the secret cannot be understood.
    """
    environ = os.environ if environ is None else environ
    name = _hash(environ.get("MLCACHE_HASH", "xxh3"), "MLCACHE_HASH")
    secret = environ.get("MLCACHE_SECRET")
    if name == "xxh3" or secret is None:
        return name, None
    return name, _secret(secret, "MLCACHE_SECRET")


hashing.asked = hash_asked_for


def capitals(name: str) -> str:
    """``name`` as it stands in a variable."""
    return re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")


def _collect(environ: Mapping[str, str], prefix: str) -> dict[str, Any]:
    return {
        field: parse(environ[prefix + option], prefix + option)
        for option, (field, parse) in _OPTIONS.items()
        if prefix + option in environ
    }


def _check_option(variable: str, option: str) -> None:
    if option in ("HASH", "TRACE"):
        what = option.lower()
        raise ConfigurationError(f"{variable}: all functions have one {what}: set MLCACHE_{option} instead")
    if option not in _OPTIONS:
        raise ConfigurationError(
            f"{variable} sets {option!r}, which is no option{_closest(option, variable.removesuffix(option))}"
        )


def _warn_of_unknown(environ: Mapping[str, str]) -> None:
    for variable in environ:
        if variable.startswith(PREFIX) and (hint := _mistake(variable)):
            warn(f"{variable} is no setting of mlcache{hint}")


def _mistake(variable: str) -> str:
    """What was meant, or could have been; empty for a variable that is one, or may be one of a function."""
    option = variable.removeprefix(PREFIX)
    if option.startswith("_"):
        return "" if variable.isupper() else f": they are in capitals: did you mean {variable.upper()}?"
    return "" if option in _OPTIONS else _function_option(option) or _closest(option, PREFIX)


def _function_option(option: str) -> str:
    """The hint that ``option`` begins with the name of a function, if it may; empty if not."""
    for known in _OPTIONS:
        name = option.upper().removesuffix(f"_{known}")
        if name and name != option.upper():
            return f": did you mean {PREFIX}_{name}__{known}, for a function called {name.lower()}?"
    return ""


def _closest(option: str, prefix: str) -> str:
    import difflib

    close = difflib.get_close_matches(option.upper(), _OPTIONS, 1)
    return f": did you mean {prefix}{close[0]}?" if close else f" (there are {', '.join(_OPTIONS)})"
