"""Backends: where entries live."""

from __future__ import annotations
