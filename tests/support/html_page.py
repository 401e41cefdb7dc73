"""A page's elements, read strictly: what a browser would have to mend is a fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise

from typing_extensions import override

VOID = frozenset({"meta", "link", "input", "br", "img", "hr", "rect", "path", "circle"})


@dataclass
class Element:
    """One element. `text` is its own and that of all elements in it."""

    tag: str
    attributes: dict[str, str]
    parent: Element | None = None
    children: list[Element] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join([*self.texts, *(child.text for child in self.children)])

    def all(self, *tags: str) -> Iterator[Element]:
        """Every element in it with one of `tags`; without tags every one."""
        for child in self.children:
            if not tags or child.tag in tags:
                yield child
            yield from child.all(*tags)

    def inside(self, *tags: str) -> bool:
        """Whether an element around it has one of `tags`."""
        return self.parent is not None and (self.parent.tag in tags or self.parent.inside(*tags))


class Page(HTMLParser):
    """A document, or a part of one."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = self._open = Element("", {})
        self.faults: list[str] = []
        self.feed(text)
        self.close()
        if self._open is not self.root:
            self.faults.append(f"<{self._open.tag}> is not closed")

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = Counter(name for name, _ in attrs)
        self.faults += [f"<{tag}> has {name} {count} times" for name, count in names.items() if count > 1]
        element = Element(tag, {name: value or "" for name, value in attrs}, self._open)
        self._open.children.append(element)
        if tag not in VOID:
            self._open = element

    @override
    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open.children.append(Element(tag, {name: value or "" for name, value in attrs}, self._open))

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag != self._open.tag or self._open.parent is None:
            self.faults.append(f"</{tag}> ends <{self._open.tag}>")
            return
        self._open = self._open.parent

    @override
    def handle_data(self, data: str) -> None:
        self._open.texts.append(data)

    def all(self, *tags: str) -> list[Element]:
        """Every element with one of `tags`; without tags every one."""
        return list(self.root.all(*tags))

    @property
    def ids(self) -> list[str]:
        """The ids, in order."""
        return [element.attributes["id"] for element in self.all() if "id" in element.attributes]


def faults_of(page: Page) -> list[str]:
    """Return what no page may have: bad nesting, an id twice, inline code, a control without a name, a form without a
    token.
    """
    faults = list(page.faults)
    faults += [f"the id {id} is there {count} times" for id, count in Counter(page.ids).items() if count > 1]
    for element in page.all():
        for name, value in element.attributes.items():
            if name == "style" or name.startswith("on") or value.lower().startswith("javascript:"):
                faults.append(f"<{element.tag} {name}={value!r}> is inline code")
            if name in ("href", "src", "action") and ("//" in value.split("?")[0] and not value.startswith("https://")):
                faults.append(f"<{element.tag} {name}={value!r}> leads away")
    faults += [f"<script> without src: {each.text[:60]}" for each in page.all("script") if "src" not in each.attributes]
    faults += ["<style> in the page"] * len(page.all("style"))
    faults += [
        f"a form for {each.attributes.get('action')} has no token" for each in page.all("form") if not _has_token(each)
    ]
    faults += [
        f"<{each.tag}> has no name: {each.attributes}"
        for each in page.all("button", "a", "input", "select", "textarea")
        if not _named(each, page)
    ]
    return faults


def _has_token(form: Element) -> bool:
    return form.attributes.get("method", "get") == "get" or any(
        each.attributes.get("name") == "csrf" for each in form.all("input")
    )


def _named(element: Element, page: Page) -> bool:
    attributes = element.attributes
    if attributes.get("type") == "hidden" or {"hidden", "aria-label", "aria-labelledby", "title"} & attributes.keys():
        return True
    if element.tag in ("button", "a"):
        return bool(element.text.strip())
    labels = (label.attributes.get("for") for label in page.all("label"))
    return element.inside("label") or ("id" in attributes and attributes["id"] in labels)


def headings_in_order(page: Page) -> bool:
    """Whether there is one h1, and no level is left out on the way down."""
    levels = [int(each.tag[1]) for each in page.all("h1", "h2", "h3", "h4", "h5", "h6")]
    steps = pairwise(levels)
    return levels.count(1) == 1 and levels[0] == 1 and all(after <= before + 1 for before, after in steps)
