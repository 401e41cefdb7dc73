"""The library of passkeys takes long to load, so a module that uses it loads it at the first use only.

Which modules may use it is a contract in pyproject.toml.
"""

from __future__ import annotations

import ast
import inspect
from types import ModuleType

import pytest

from reconciler.access import registration
from reconciler.common import touch


@pytest.mark.parametrize("module", [touch, registration])
def test_a_module_that_uses_the_library_loads_it_in_functions_only(module: ModuleType) -> None:
    body = ast.parse(inspect.getsource(module)).body
    at_once = [node.module for node in body if isinstance(node, ast.ImportFrom)]
    assert at_once
    assert not [name for name in at_once if name and name.startswith("webauthn")]
    assert "from webauthn" in inspect.getsource(module)
