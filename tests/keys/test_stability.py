"""A key is the same in every process, whatever the seed of its hashes and the version of Python.

The golden keys are a contract: a change of one of them makes every entry that was ever kept
unreachable, so it has to come with a new ``KEY_VERSION``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlcache.keys import KEY_VERSION

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "golden.json").read_text("utf-8"))


def keys_in_new_process(python: str, seed: str) -> dict[str, str]:
    environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(HERE.parents[1])}
    command = [python, str(HERE / "samples.py")]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    keys: dict[str, str] = json.loads(made.stdout)
    return keys


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_keys_are_the_same_in_a_process_of_another_seed(seed: str) -> None:
    keys = keys_in_new_process(sys.executable, seed)
    of_code = {name for name in keys if name.startswith("code")}
    assert {name: keys[name] for name in GOLDEN["keys"]} == GOLDEN["keys"]
    assert set(keys) == set(GOLDEN["keys"]) | of_code
    assert len(set(keys.values())) == len(keys)


def test_keys_of_code_are_the_same_in_every_process() -> None:
    one, other = (keys_in_new_process(sys.executable, seed) for seed in ("1", "2"))
    assert one == other


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_keys_of_values_are_the_same_in_other_versions_of_python(version: str) -> None:
    prepared = HERE.parents[1] / f"build/env/py{version}/bin/python"
    python = str(prepared) if prepared.exists() else shutil.which(f"python{version}")
    if python is None:
        pytest.skip(f"there is no python{version} here")
    probe = subprocess.run(
        [python, "-c", "import msgspec, numpy, pandas, xxhash"], capture_output=True, check=False
    )
    if probe.returncode:
        pytest.skip(f"python{version} has no numpy, pandas, xxhash and msgspec here")
    keys = keys_in_new_process(python, "0")
    assert {name: keys[name] for name in GOLDEN["keys"]} == GOLDEN["keys"]


def test_the_golden_keys_are_of_this_version() -> None:
    assert GOLDEN["version"] == KEY_VERSION
