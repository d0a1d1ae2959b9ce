"""For tests that start processes: what Python starts once and keeps is started before any of them."""

from __future__ import annotations

from multiprocessing import forkserver, get_context, resource_tracker

import pytest


@pytest.fixture(scope="session", autouse=True)
def _lasting_processes() -> None:
    resource_tracker.ensure_running()
    get_context("forkserver").set_forkserver_preload(["tests.offload.samples"])
    forkserver.ensure_running()
