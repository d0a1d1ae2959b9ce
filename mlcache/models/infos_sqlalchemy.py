"""Which model answers for which user, in a table of any database that SQLAlchemy knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlcache import forks
from mlcache.errors import ConfigurationError, MissingExtraError, ModelStoreError, UnknownUserError

if TYPE_CHECKING:
    from sqlalchemy import Engine, Table


class SQLAlchemyModelInfoRepository:
    """Ids of models by user, in one table of a database.

    Args:
        database: its URL, such as ``"sqlite:///models.db"`` or ``"postgresql+psycopg://host/app"``, or an
            ``Engine``, which stays the caller's to dispose of. ``"sqlite://"`` is in memory, and gone once
            this was closed.
        table: its name.
        user_column: the column of user ids, which is its primary key: texts, or numbers, which are looked
            for by how they are written.
        model_column: the column of model ids.
        options: of ``sqlalchemy.create_engine``, where a URL is given.

    Raises:
        ConfigurationError: the URL or an option cannot be understood.
        MissingExtraError: SQLAlchemy, or the driver that the URL asks for, is not installed.
    """

    def __init__(
        self,
        database: str | Engine,
        *,
        table: str = "model_infos",
        user_column: str = "user_id",
        model_column: str = "model_id",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._is_ours = isinstance(database, str)
        self._engine = _open(database, options or {}) if isinstance(database, str) else database
        self._table = _table(table, user_column, model_column)
        self._user, self._model = self._table.c[user_column], self._table.c[model_column]
        self._question = _question(self._user, self._model)
        forks.tend(self)

    def create(self) -> None:
        """Create the table, if it is not there.

        Raises:
            ModelStoreError: the database does not answer, or does not let us.
        """
        self._do(lambda connection: self._table.create(connection, checkfirst=True))

    def get_model_id(self, user_id: str, /) -> str:
        """The id of the user's model.

        Raises:
            UnknownUserError: there is no such user.
            ModelStoreError: the database does not answer.
        """
        from sqlalchemy.exc import DataError

        asked = {"asked": user_id}
        try:
            found = self._do(
                lambda connection: connection.execute(self._question, asked).scalar_one_or_none()
            )
        except ModelStoreError as error:
            if not isinstance(error.__cause__, DataError):
                raise
            found = None  # it did answer: that this can be nobody's name
        if found is None:
            raise UnknownUserError(f"there is no model for the user {user_id!r}")
        return str(found)

    def put_model_id(self, user_id: str, model_id: str) -> None:
        """Let a model answer for a user, in place of any other.

        Raises:
            ModelStoreError: the database does not answer.
        """
        from sqlalchemy import insert, update
        from sqlalchemy.exc import IntegrityError

        names = {self._user.name: user_id, self._model.name: model_id}

        def write(connection: Any) -> None:
            changed = connection.execute(update(self._table).where(self._user == user_id).values(names))
            if not changed.rowcount:
                connection.execute(insert(self._table).values(names))

        try:
            self._do(write)
        except ModelStoreError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
            self._do(write)  # somebody else has put the same user there between our two steps

    def ping(self) -> None:
        """Ask for a sign of life.

        Raises:
            ModelStoreError: there is none.
        """
        from sqlalchemy import select

        self._do(lambda connection: connection.execute(select(self._user).limit(1)).first())

    def close(self) -> None:
        """Close connections, where the engine is ours; they are opened anew when they are needed."""
        if self._is_ours:
            self._engine.dispose()

    def after_fork(self) -> None:
        """In a forked child: connections are the parent's, who goes on using them."""
        if self._is_ours:
            self._engine.dispose(close=False)

    def _do(self, work: Any) -> Any:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.begin() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            where = self._engine.url.render_as_string(hide_password=True)
            raise ModelStoreError(f"the database {where} does not answer: {error}") from error

    def __repr__(self) -> str:
        url = self._engine.url.render_as_string(hide_password=True)
        return f"SQLAlchemyModelInfoRepository({url!r}, table={self._table.name!r})"


def _open(url: str, options: Mapping[str, Any]) -> Engine:
    try:
        import sqlalchemy
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    except ImportError:
        raise MissingExtraError("a repository in a database", "sqlalchemy", "models") from None
    try:
        # A connection that the database has closed is replaced before it is used.
        pool = {} if "poolclass" in options else _one_connection(url)
        return sqlalchemy.create_engine(url, **{"pool_pre_ping": True, **pool, **options})
    except ImportError as error:
        raise MissingExtraError("the database", str(error.name), "models") from error
    except (ArgumentError, NoSuchModuleError, TypeError, ValueError) as error:
        raise ConfigurationError(f"no database can be opened with these: {error}") from error


def _one_connection(url: str) -> dict[str, Any]:
    """Options for SQLite in memory, where each connection has a database of its own: threads share one."""
    from sqlalchemy import QueuePool, make_url

    asked = make_url(url)
    if asked.get_backend_name() != "sqlite" or asked.database not in (None, "", ":memory:"):
        return {}
    one_for_all = {"check_same_thread": False}
    return {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "connect_args": one_for_all}


def _question(user: Any, model: Any) -> Any:
    """The query for the model of the user ``asked``."""
    from sqlalchemy import bindparam, select
    from sqlalchemy.types import UserDefinedType

    class AsInTheTable(UserDefinedType[str]):
        """Of a parameter that is not said to be a text: PostgreSQL compares no number with one."""

        cache_ok = True

    return select(model).where(user == bindparam("asked", type_=AsInTheTable()))


def _table(name: str, user_column: str, model_column: str) -> Table:
    from sqlalchemy import Column, MetaData, String, Table

    user = Column(user_column, String(255), primary_key=True)
    return Table(name, MetaData(), user, Column(model_column, String(255), nullable=False))
