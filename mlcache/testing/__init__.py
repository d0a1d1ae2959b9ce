"""For tests: a clock to be set by hand, and what every backend must pass."""

from __future__ import annotations

import sys

if "pytest" in sys.modules:
    import pytest

    # So that a failed assertion shows its values here as it does in a test's own file.
    pytest.register_assert_rewrite("mlcache.testing.backends", "mlcache.testing.many")

from mlcache.testing.backends import BackendConformance
from mlcache.testing.clock import FakeClock

__all__ = ["BackendConformance", "FakeClock"]
