"""The contract of backends, unchanged, for backend `nixos`."""

from tests.contract import test_backends

globals().update({name: test for name, test in vars(test_backends).items() if name.startswith("test_")})
