"""The one caller of the nix CLI. No command here differs between nix 2.8 and 2.34, so none is chosen by version.

cli         the commands: parse, lock, derivation, evaluate, realise, repair
store       where the store is, who writes it, and where a locked input is in it
jail        what an evaluation or a build may see
complaints  the useful part of nix's messages, with the file names that the agent's author knows (pure)
summary     what a system contains, and how two systems differ (pure)
"""

from __future__ import annotations

from meta.nix.cli import NIX_CONFIG, Nix, find
from meta.nix.complaints import build_complaint, evaluation_complaint
from meta.nix.jail import Evaluation
from meta.nix.store import Store
from meta.nix.summary import Summary, compare

__all__ = [
    "NIX_CONFIG",
    "Evaluation",
    "Nix",
    "Store",
    "Summary",
    "build_complaint",
    "compare",
    "evaluation_complaint",
    "find",
]
