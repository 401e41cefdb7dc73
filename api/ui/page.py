"""What a page is: a path, an input, a view, and the regions that its stream keeps up to date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from api.operations.base import Call, Input
from api.ui.moment import Moment
from api.ui.render import Templates, Viewer

if TYPE_CHECKING:
    from api.ui.live.hub import LiveView

In = TypeVar("In", bound=Input)


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a page that changes as one. The root element of `template` has the id `id`."""

    id: str
    template: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What a view returns: the values of the templates.

    `title` is the page's if it depends on the values. `again`: seconds after which the view is read again although
    nothing reported a change, e.g. while a log grows; None: a change is enough.
    """

    values: Mapping[str, object]
    title: str | None = None
    again: float | None = None


View = Callable[[Moment, In], Awaitable[Shown]]
"""Reads what a page shows by operations. It knows nothing of who looks, so that all who look share it."""


@dataclass(frozen=True, slots=True)
class StreamContext:
    """What a page's own stream has: the caller, the view of the page's regions, and the browser's state.

    `seen` is the id of the last event that the browser got, or the page's token. `over` is set when the login ends.
    """

    call: Call
    view: LiveView
    templates: Templates
    seen: str
    viewer: Viewer
    over: asyncio.Event


StreamOf = Callable[[StreamContext, In], AsyncGenerator[str, None]]


@dataclass(frozen=True, slots=True)
class Page(Generic[In]):
    """A page. `path` may have fields of `input`, the others come from the query.

    `template` extends `shell.html` and places each region by `{{ region("<id>") }}`. `section` is the entry of the
    navigation that is marked. `stream` is the page's own, if it sends more than regions.
    """

    name: str
    path: str
    title: str
    section: str
    input: type[In]
    view: View[In]
    template: str
    regions: tuple[Region, ...] = ()
    stream: StreamOf[In] | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A part of the page for the person who asked alone: `template` is below the element of the id `id`."""

    id: str
    template: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Done:
    """What an action did, in words for the person who asked. `go`: the page to go to; None: stay on this one.

    `part` takes its place in the page. Without JavaScript it is a page of its own.
    """

    text: str
    go: str | None = None
    part: Answered | None = None


@dataclass(frozen=True, slots=True)
class Action(Generic[In]):
    """A form that changes something: POST to `path`, whose fields and the form's make the input.

    Inputs have to be operations' own or small ones of the page. `act` calls operations, as the person who is logged in.
    """

    path: str
    input: type[In]
    act: Callable[[Call, In], Awaitable[Done]]


@dataclass(frozen=True, slots=True)
class Fragment(Generic[In]):
    """A part of a page that is fetched when it is opened: GET of `path`, which changes nothing."""

    path: str
    input: type[In]
    view: View[In]
    template: str


@dataclass(frozen=True, slots=True)
class File:
    """A file that a browser saves. `content` is UTF-8."""

    name: str
    media: str
    content: AsyncIterator[str]


@dataclass(frozen=True, slots=True)
class Download(Generic[In]):
    """A file to save: GET of `path`, which changes nothing."""

    path: str
    input: type[In]
    make: Callable[[Call, In], Awaitable[File]]


@dataclass(frozen=True, slots=True)
class Feed(Generic[In]):
    """Values for a script, as a stream: GET of `path`. They are sent as JSON at the beginning and when they change."""

    name: str
    path: str
    input: type[In]
    view: View[In]


# The rows of the registry differ in their input. Tests request each of them.
AnyPage = Page[Any]
AnyAction = Action[Any]
AnyFragment = Fragment[Any]
AnyDownload = Download[Any]
AnyFeed = Feed[Any]


@dataclass(frozen=True, slots=True)
class Room:
    """What one folder of `api/ui/pages/` brings."""

    pages: tuple[AnyPage, ...] = ()
    actions: tuple[AnyAction, ...] = ()
    fragments: tuple[AnyFragment, ...] = ()
    downloads: tuple[AnyDownload, ...] = ()
    feeds: tuple[AnyFeed, ...] = ()
