#!/bin/sh
# @google/gemini-cli 0.61.0: in a folder that is not trusted `gemini --acp` drops the MCP servers of session/new in silence.
#
# The answer to session/new is that of a good one, and nothing in the protocol says that the servers are missing: they are
# not even connected to. With GEMINI_CLI_TRUST_WORKSPACE=true the same call connects.
#
# Seen on 2026-11-30:
#   untrusted  session/new: a session, requests to the MCP server: 0
#   trusted    session/new: a session, requests to the MCP server: more than 0
#
# Installs the pinned package (100 MB, needs npm and node 20) into a temporary folder and talks to a stand-in on loopback
# only. Ends with 1 if the behaviour changes.
set -eu
FOLDER=$(mktemp -d)
export FOLDER
trap 'rm -rf "$FOLDER"' EXIT
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$FOLDER" @google/gemini-cli@0.61.0 >/dev/null
"$FOLDER/node_modules/.bin/gemini" --version
python3 - <<'PYTHON'
import json, os, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

requests = 0


class Mcp(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.reply(405, None)

    def do_POST(self):
        global requests
        requests += 1
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "id" not in body:
            self.reply(202, None)
        elif body["method"] == "initialize":
            about = {"protocolVersion": body["params"]["protocolVersion"], "capabilities": {"tools": {}}}
            self.reply(200, {"jsonrpc": "2.0", "id": body["id"], "result": {**about, "serverInfo": {"name": "s", "version": "1"}}})
        else:
            self.reply(200, {"jsonrpc": "2.0", "id": body["id"], "result": {"tools": []}})

    def reply(self, status, value):
        data = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


server = ThreadingHTTPServer(("127.0.0.1", 0), Mcp)
threading.Thread(target=server.serve_forever, daemon=True).start()
folder = os.environ["FOLDER"]
url = f"http://127.0.0.1:{server.server_address[1]}/mcp"


def start(more):
    global requests
    requests = 0
    env = {"PATH": os.environ["PATH"], "HOME": folder, "GEMINI_API_KEY": "dummy", "GEMINI_CLI_NO_RELAUNCH": "true", **more}
    agent = subprocess.Popen([f"{folder}/node_modules/.bin/gemini", "--acp"], env=env, cwd=folder, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def ask(number, method, params):
        agent.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\n")
        agent.stdin.flush()
        for line in agent.stdout:
            message = json.loads(line)
            if message.get("id") == number and "method" not in message:
                return message.get("result", message.get("error"))

    ask(0, "initialize", {"protocolVersion": 1, "clientCapabilities": {}})
    server = {"type": "http", "name": "mine", "url": url, "headers": []}
    answer = ask(1, "session/new", {"cwd": folder, "mcpServers": [server]})
    agent.kill()
    agent.wait()
    return "sessionId" in answer, requests


plain, trusted = start({}), start({"GEMINI_CLI_TRUST_WORKSPACE": "true"})
print("untrusted: session", plain[0], "requests", plain[1])
print("trusted: session", trusted[0], "requests", trusted[1])
sys.exit(not (plain == (True, 0) and trusted[0] and trusted[1] > 0))
PYTHON
