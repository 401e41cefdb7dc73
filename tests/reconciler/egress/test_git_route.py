"""git over https by a route: a real git, and a real git-http-backend that wants a password."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from meta.network.operator_file import parse_operator_file
from tests.support.egress_http import FakeGate, Visit, agents, policy, upstream

BACKEND = Path(
    subprocess.run(["git", "--exec-path"], capture_output=True, text=True).stdout.strip(), "git-http-backend"
)
PASSWORD = b"authorization: Basic " + base64.b64encode(b"x-access-token:tok-1")


class GitServer:
    """git-http-backend over a folder, for those with the password."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.heads: list[bytes] = []

    async def __call__(self, visit: Visit) -> None:
        while not visit.reader.at_eof():
            head, body = await visit.request()
            self.heads.append(head)
            if PASSWORD not in head.split(b"\r\n"):
                await visit.send(b"HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
                continue
            await visit.send(await self._answer(head, body))

    async def _answer(self, head: bytes, body: bytes) -> bytes:
        method, target, *_ = head.decode().split()
        path, _, query = target.partition("?")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REMOTE_USER": "alice",
            "CONTENT_TYPE": headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""),
            "GIT_PROTOCOL": headers.get("git-protocol", ""),
        }
        pipe = asyncio.subprocess.PIPE
        backend = await asyncio.create_subprocess_exec(BACKEND, stdin=pipe, stdout=pipe, env=environment)
        output, _ = await backend.communicate(body)
        answer, _, content = output.partition(b"\r\n\r\n")
        length = b"\r\nContent-Length: %d\r\n\r\n" % len(content)
        return b"HTTP/1.1 200 OK\r\n" + answer + length + content


async def git(*arguments: str, cwd: Path) -> str:
    """Run git as an agent does: without any password, and without the settings of this host."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "alice",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "alice",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "git", *arguments, cwd=cwd, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


@pytest.mark.skipif(not BACKEND.exists(), reason="this git has no http backend")
async def test_git_clones_and_pushes_through_a_route_without_knowing_the_password(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("tok-1")
    (tmp_path / "key").chmod(0o600)
    work = tmp_path / "work"
    work.mkdir()
    await git("init", "-q", "--bare", "-b", "main", str(tmp_path / "served" / "own.git"), cwd=work)
    server = GitServer(tmp_path / "served")
    async with upstream(server) as port:
        text = f'[credentials.forge]\nkind = "git"\nfile = "{tmp_path}/key"\nupstream = "http://forge.example:{port}"\n'
        routes = dict(parse_operator_file(text.encode()).routes)
        gate = FakeGate(policy(), {("forge.example", port): port}, routes)
        async with agents(gate, tmp_path), await _loopback(tmp_path / "egress.sock") as relay, asyncio.timeout(60):
            url = f"http://127.0.0.1:{relay.sockets[0].getsockname()[1]}/forge/own.git"
            await git("init", "-q", "first", cwd=work)
            (work / "first" / "file").write_bytes(os.urandom(2**21))  # more than http.postBuffer: sent in chunks
            await git("add", "file", cwd=work / "first")
            await git("commit", "-q", "-m", "one", cwd=work / "first")
            await git("push", "-q", url, "HEAD:main", cwd=work / "first")
            await git("clone", "-q", url, "second", cwd=work)
    assert (work / "second" / "file").read_bytes() == (work / "first" / "file").read_bytes()
    assert any(b"transfer-encoding: chunked" in head for head in server.heads)
    shutil.rmtree(work)


async def _loopback(path: Path) -> asyncio.Server:
    """Carry connections of a loopback port to the socket, as the harness's relay does."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        out_reader, out_writer = await asyncio.open_unix_connection(path)
        await asyncio.gather(carry(reader, out_writer), carry(out_reader, writer), return_exceptions=True)

    return await asyncio.start_server(serve, "127.0.0.1", 0)
