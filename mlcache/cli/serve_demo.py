"""``mlcache serve-demo``: a service of a few dozen small real models, to be tried with curl."""

from __future__ import annotations

import json
import signal
import socket
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from mlcache.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from mlcache.models import FsspecModelRepository, SQLAlchemyModelInfoRepository
    from mlcache.models.demo import Tenant


def serve_demo(
    *,
    tenants: Annotated[int, typer.Option(min=1, help="Customers, each with a model of its own.")] = 36,
    room: Annotated[int, typer.Option(min=1, help="Models in memory, at most.")] = 12,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where models and users are kept; else they are not.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to serve at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve at; 0 for a free one.")] = 8000,
) -> None:
    """Train models for some tenants, store them, and serve their predictions over HTTP."""
    signal.signal(signal.SIGTERM, _end)
    with ExitStack() as stack:
        listening = stack.enter_context(_listen(host, port))
        where = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlcache-demo-")))
        models, infos = _stores(where)
        stack.callback(models.close)
        stack.callback(infos.close)
        first = _train(tenants, models, infos)
        _explain(first, f"http://{host}:{listening.getsockname()[1]}", room)
        _serve(models, infos, room, listening)


def _end(number: int, _: object) -> NoReturn:
    """Leave as for any other reason to stop, so that nothing stays behind."""
    sys.exit(128 + number)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise ConfigurationError(f"cannot serve at {host}:{port}: {error}; give another --port") from error


def _stores(folder: Path) -> tuple[FsspecModelRepository, SQLAlchemyModelInfoRepository]:
    from mlcache.models import FsspecModelRepository, SQLAlchemyModelInfoRepository

    try:
        (folder / "models").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"--folder {folder} cannot be written to: {error.strerror}; give a folder of your own"
        ) from error
    infos = SQLAlchemyModelInfoRepository(f"sqlite:///{folder / 'users.db'}")
    infos.create()
    return FsspecModelRepository(folder / "models"), infos


def _train(count: int, models: FsspecModelRepository, infos: SQLAlchemyModelInfoRepository) -> Tenant:
    from mlcache.models import demo

    typer.echo(f"training {count} models ...")
    trained = list(demo.tenants(count))
    for tenant in trained:
        demo.store(tenant, models, infos)
    return trained[0]


def _explain(tenant: Tenant, url: str, room: int) -> None:
    body = json.dumps({"columns": tenant.example})
    typer.echo(f"serving {url}, with room for {room} models; try\n")
    typer.echo(f"  curl -i {url}/predict/{tenant.user_id} -d '{body}'")
    typer.echo(f"  curl {url}/health/ready")
    typer.echo(f"  curl {url}/metrics")
    typer.echo("\nCtrl-C ends it.")


def _serve(
    store: FsspecModelRepository, infos: SQLAlchemyModelInfoRepository, room: int, listening: socket.socket
) -> None:
    from mlcache.models import CachedModelInfoRepository, CachedModelRepository
    from mlcache.models.server import make_app

    try:
        import uvicorn
    except ImportError:
        raise MissingExtraError("mlcache serve-demo", "uvicorn", "server") from None
    with CachedModelRepository(store, max_models=room, check_every="5s") as models:
        app = make_app(models, CachedModelInfoRepository(infos), backend="lru?max_bytes=64MiB", ttl="1m")
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
