"""The texts of the pictures: what agents are asked, what they answer, and what is proposed."""

from __future__ import annotations

from tests.support.fake_messages import Step
from tests.support.real_agents import CLAUDE

NETWORK = """private = ["{models}:{port}"]
[hosts]
"{models}" = "127.0.0.1"
[credentials.anthropic]
file = "{key}"
upstream = "https://{models}:{port}"
"""

_RUNTIME = "claude" if CLAUDE.exists() else "script"
SPAWNED = {
    "alice": {"runtime": _RUNTIME, "model": "opus"},
    "bob": {"runtime": _RUNTIME, "model": "sonnet"},
    "carol": {"runtime": _RUNTIME, "model": "haiku"},
    "triage": {"runtime": "codex"},
}
"""What agents begin with; the others with the scripted runtime."""


def _toml(label: str, model: str, recipients: list[str], more: str = "") -> str:
    listed = ", ".join(f'"{name}"' for name in recipients)
    return f"""runtime = "{_RUNTIME}"
model = "{model}"
label = "{label}"
recipients = [{listed}]

[budget]
dollars = 10
turns = 200

[limits]
turn_seconds = 3600
max_turns = 80
{more}"""


NOTES = """# How we work

- A change has its test, which fails first.
- Amounts are whole cents. A float is never an amount.
- Ask before you change what others read.
"""
IMPORTER = """# The importer

It reads the exports of the shop and writes orders. Python now; the parser is the slow part.

## Formats

| version | encoding | separator |
|---|---|---|
| 1 | latin-1 | ; |
| 2 | utf-8 | , |

## Steps

1. Read the head, and choose the version.
2. Parse line by line. A line that cannot be parsed goes into `rejected.csv`.
3. Write orders in batches of 500.

## Limits

At most 200 MB a file. A run takes about four minutes.
"""
DOCS = """label = "handbook"
[budget]
turns = 1
[[script]]
reply = "the page is there"
"""
RELEASE = """label = "tags, changelog"
[[script]]
when = "Review.*"
crash = 3
[[script]]
reply = "tagged"
"""
VERSIONS = {
    "alice": [
        (
            "say what alice is for",
            {"agent.toml": _toml("backend", "opus", ["manager", "operator"]), "CLAUDE.md": NOTES},
        ),
        ("let alice write to bob", {"agent.toml": _toml("backend", "opus", ["manager", "operator", "bob"])}),
    ],
    "bob": [("say what bob is for", {"agent.toml": _toml("importer", "sonnet", ["*"])})],
    "carol": [
        (
            "say what carol is for",
            {
                "agent.toml": _toml("importer, in Rust", "haiku", ["manager", "operator"]),
                "CLAUDE.md": NOTES,
                "docs/importer.md": IMPORTER,
            },
        )
    ],
    "docs": [("write the handbook", {"agent.toml": DOCS})],
    "nightly": [("run the report at night", {"agent.toml": 'label = "report, at 02:00"\n'})],
    "release": [("tag and write the changelog", {"agent.toml": RELEASE})],
}
"""What was approved before: agent -> (subject, files) each."""

BROKEN = (
    "read the issue tracker with a token",
    {"agent.toml": 'label = "proposes, reviews"\n[start]\nexit = 3\n'},
)
DENIED = (
    "let carol reach everything",
    {"agent.toml": _toml("importer, in Rust", "haiku", ["manager", "operator"], '\n[network]\nallow = ["*.io"]\n')},
)
REASON = "One host at a time, please: which ones does the build fetch from?"
NEXT = ("read exports of version 3", {"agent.toml": _toml("importer 0.9.2", "sonnet", ["*"])})
SMALL = ("tag on Fridays only", {"agent.toml": 'label = "tags on Fridays, changelog"\n'})
PENDING = (
    "port the importer to Rust\n\nHaiku lost the thread twice on the lifetimes; carol needs the crates for the\n"
    "parser, and to ask alice and bob about the file format.",
    {
        "agent.toml": _toml(
            "importer, in Rust",
            "opus",
            ["manager", "operator", "alice", "bob"],
            'silence_seconds = 900\n\n[network]\nallow = ["crates.io", "static.crates.io"]\n',
        ),
        "CLAUDE.md": NOTES.replace(
            "- Ask before you change what others read.",
            "- Ask alice or bob before you change what others read.\n- `cargo test` passes before you say so.",
        ),
        "docs/importer.md": IMPORTER.replace(
            "Python now; the parser is the slow part.", "Rust since version 3; the parser was the slow part."
        )
        .replace("| 2 | utf-8 | , |", "| 2 | utf-8 | , |\n| 3 | utf-8 | tab |")
        .replace("about four minutes", "about twenty seconds"),
    },
)

POISON = "Review of importer/parse.rs is done: two findings, both in the branch. Can I have the next one?"
FOR_DOCS = ("The glossary is out of date.", "Screenshots of the report, please.", "Which pages mention cents?")
FOR_TRIAGE = ("Three new issues came in.", "Label the ones about imports.", "Is 812 a duplicate?")
MESSAGES = (
    ("manager", "alice", "The list of orders is slow with 40,000 of them. Please page it."),
    ("manager", "bob", "Version 3 of the exports is specified. Can you read it?"),
    ("bob", "carol", "Which encoding do the old exports have?"),
)
FOR_OPERATOR = (
    ("alice", "The list of orders is paged; 45 tests pass. The branch is `paging`."),
    ("manager", "bob and carol agreed on the format. I propose carol's new settings."),
)
QUESTION = {
    "cmd": "ask",
    "question": "How should orders.total become orders.total_cents? I work on something else meanwhile.",
    "options": ["Keep both", "Rename in place", "Leave it as it is"],
    "ttl_seconds": 2460,
}
QUESTION_OF_MANY = {
    "cmd": "ask",
    "question": "Which of these may I delete from the old exports?",
    "options": ["Orders before 2019", "Test customers", "Rejected lines"],
    "multi": True,
    "ttl_seconds": 7200,
}
ANSWERED = {"cmd": "ask", "question": "Which run shall read version 3 first?", "options": ["The nightly one", "All"]}
REMINDER = {
    "cmd": "remind",
    "message": "look at the nightly report",
    "timing": {"timing_type": "in_seconds", "seconds": 3600},
}
LONG_TURN = (
    "Totals are off by a cent in the monthly report. Please find out why and mend it, with a test that fails first."
)
OTHER_TURN = "The rejected lines of Monday: what is wrong with them?"

_TOTALS = '''"""Totals of orders."""


def total(order):
    """Return the sum of the lines."""
    return round(sum(line["price"] * line["count"] for line in order["lines"]), 2)


def lines(order):
    return [float(line["price"]) for line in order["lines"]]
'''
_TEST = """from totals import total

order = {"lines": [{"price": 33.335, "count": 3}]}
assert total(order) == 100.01, total(order)
"""
WORK_TREES = {
    "alice": {"shop/totals.py": _TOTALS, "shop/test_totals.py": _TEST, "shop/report.py": "from totals import lines\n"},
    "bob": {"rejected.csv": "1;M\\xfcller;12,50\n2;;\n"},
}
TURNS: dict[str, list[Step]] = {
    LONG_TURN: [
        {
            "text": "A float somewhere between the lines of an order and the report, I suspect. "
            "I look at how totals are made before I touch anything.",
            "tool": "Bash",
            "input": {"command": "grep -rn 'float(' /state/shop", "description": "where amounts become floats"},
            "usage": {"input_tokens": 21_400},
        },
        {"tool": "Read", "input": {"file_path": "/state/shop/totals.py"}, "usage": {"input_tokens": 23_100}},
        {
            "tool": "Bash",
            "input": {"command": "cd /state/shop && python3 test_totals.py", "description": "the test that fails"},
            "usage": {"input_tokens": 24_800},
        },
        {
            "text": "The test fails as it should. Prices are multiplied as floats and rounded at the end. "
            "Cents all the way through.",
            "tool": "Edit",
            "input": {
                "file_path": "/state/shop/totals.py",
                "old_string": '    return round(sum(line["price"] * line["count"] for line in order["lines"]), 2)',
                "new_string": '    cents = sum(round(line["price"] * 100 * line["count"]) for line in order["lines"])\n'
                "    return cents / 100",
            },
            "usage": {"input_tokens": 26_000},
        },
        {
            "tool": "Write",
            "input": {
                "file_path": "/state/shop/money.py",
                "content": '"""Amounts are whole cents."""\n\nCENTS = 100\n',
            },
            "usage": {"input_tokens": 27_500},
        },
        {
            "tool": "Bash",
            "input": {
                "command": "curl -sS https://docs.python.org/3/library/decimal.html",
                "description": "how decimal rounds",
            },
            "usage": {"input_tokens": 28_900},
        },
        {
            "text": "The page is not on my list of hosts, and I do not need it. "
            "The report still adds up its own floats in report.py; "
            "I move that to cents as well and then run everything again. "
            + "One more look at each place where an amount is read or written. "
            * 40,
            "chunks": 800,
            "delay": 0.5,
            "usage": {"input_tokens": 30_200},
        },
    ],
    OTHER_TURN: [
        {"tool": "Bash", "input": {"command": "cat /state/rejected.csv", "description": "the rejected lines"}},
        {"text": "Two lines: one is latin-1, one has no name. " * 60, "chunks": 800, "delay": 0.5},
    ],
    MESSAGES[1][2]: [
        {
            "text": "I need the changelog of the parser.",
            "tool": "mcp__hive__request_network",
            "input": {
                "host": "docs.rs",
                "why": "The changelog says 0.9 renamed the feature flags, and I cannot see which.",
            },
        },
        {"tool": "Bash", "input": {"command": "curl -sS https://docs.rs/csv", "description": "try it all the same"}},
        {"text": "I can read it. One host is missing, which I asked for.", "usage": {"input_tokens": 18_000}},
    ],
    MESSAGES[0][2]: [
        {
            "tool": "mcp__hive__send",
            "input": {"to": "bob", "body": "The list is paged now: `?after=ID`, 100 a page."},
            "usage": {"input_tokens": 41_000},
        },
        {"text": "The list of orders is paged; the tests pass.", "usage": {"input_tokens": 42_000}},
    ],
    MESSAGES[2][2]: [{"text": "Version 1 is latin-1, the others are UTF-8.", "usage": {"input_tokens": 9_000}}],
}
"""What the model does when it reads a message."""
