"""Which model answers for which user, remembered for a while."""

from __future__ import annotations

from mlcache import units
from mlcache.decorator import ml_cache
from mlcache.entry import Expiry, Span
from mlcache.errors import ModelStoreError, UnknownUserError
from mlcache.models.gate import Gate
from mlcache.models.protocols import ModelInfoRepository, Pings


class CachedModelInfoRepository:
    """Remembers what another repository knows, with ``@ml_cache``.

    Args:
        infos: whom to ask.
        ttl: how long a user's model is remembered; it is used for as long again while it is asked for
            anew in the background.
        unknown_for: how long it is remembered that there is no such user.
        stale_if_error: for how much longer what was known is used while nobody can be asked.
        retry_after: how long nobody is asked after there was no answer.
        max_users: how many users are remembered.

    Raises:
        ConfigurationError: an option that cannot be understood.
    """

    def __init__(
        self,
        infos: ModelInfoRepository,
        *,
        ttl: Span = "1m",
        unknown_for: Span = "5s",
        stale_if_error: Span = "1h",
        retry_after: Span = "1s",
        max_users: int = 100_000,
    ) -> None:
        self.infos = infos
        known, unknown = units.seconds(ttl, what="ttl"), units.seconds(unknown_for, what="unknown_for")
        self._gate = Gate(units.seconds(retry_after, what="retry_after"), unknown)
        self._get = ml_cache(
            backend=f"lru?max_items={max_users}",
            ttl=Expiry(
                lambda found: unknown if found is None else known, stale=known, stale_if_error=stale_if_error
            ),
            ignore="self",
            version=None,
            name=f"{type(infos).__module__}.{type(infos).__qualname__}",
        )(self._ask)

    def get_model_id(self, user_id: str, /) -> str:
        """The id of the user's model; it raises as the repository that is asked."""
        return _known(user_id, self._get(user_id))

    async def get_model_id_async(self, user_id: str, /) -> str:
        """The same for an event loop: what is remembered is answered at once, the rest asked in a thread."""
        return _known(user_id, await self._get.aio(user_id))

    def forget(self, user_id: str) -> bool:
        """Ask anew for a user; whether there was anything to forget."""
        return self._get.invalidate(user_id)

    def ping(self) -> None:
        """As the repository that is asked."""
        if isinstance(self.infos, Pings):
            self.infos.ping()

    def _ask(self, user_id: str) -> str | None:
        """The id of the model; None for an unknown user, which is no failure that an older answer hides."""
        with self._gate.passing(user_id):
            try:
                found = self.infos.get_model_id(user_id)
            except UnknownUserError:
                found = None
            except ModelStoreError as error:
                self._gate.note(user_id, error)
                raise
            self._gate.note(user_id, None)
            return found


def _known(user_id: str, model_id: str | None) -> str:
    if model_id is None:
        raise UnknownUserError(f"there is no model for the user {user_id!r}")
    return model_id
