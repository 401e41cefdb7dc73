"""The page of the options says what the modules say."""

from __future__ import annotations

import re

from tests.nix.evaluate import HERE, ROOT, Evaluator
from tests.nix.generate import PAGE, page


def test_the_page_of_the_options_is_the_one_of_the_modules(nix: Evaluator) -> None:
    assert PAGE.read_text(encoding="utf-8") == page(nix), "run `python -m tests.nix.generate`"


def test_every_option_has_a_description(nix: Evaluator) -> None:
    found = nix.json(HERE / "options.nix")
    assert len(found["host"]) > 30
    assert len(found["agent"]) > 30
    for option in [*found["host"], *found["agent"]]:
        assert option["description"], option["name"]


def test_the_guide_names_only_options_that_exist(nix: Evaluator) -> None:
    known = {option["name"] for options in nix.json(HERE / "options.nix").values() for option in options}
    text = (ROOT / "docs/howto/nixos.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:services\.hive|hive\.agent)(?:\.[a-zA-Z_]+)+", text))
    assert named
    for name in named:
        assert any(name == option or option.startswith(f"{name}.") for option in known), name
