#!/bin/sh
# @agentclientprotocol/codex-acp 2.6.0 (codex 0.166.0): a turn that the model's API refused is answered as a good one.
#
# The answer to `session/prompt` has stopReason "end_turn". That it failed shows only in `"usage": null`, and the error in a
# text like the model's own. A client that has `_meta.jetbrains.air` with the capability "sessionFailure" in its
# clientCapabilities gets the failure typed in the answer's `_meta` too, but a request that the API calls invalid (HTTP 400)
# is then a fault of the "service" that may be tried again ("retry").
#
# Seen on 2026-11-30:
#   429, plain:  {"stopReason":"end_turn","usage":null}   no failure in _meta
#   429, typed:  {"stopReason":"end_turn","usage":null}   category "limit", actions ["retry"]
#   400, typed:  {"stopReason":"end_turn","usage":null}   category "service", actions ["retry"]
#
# Installs the pinned package (457 MB, needs npm and node 20) into a temporary folder and talks to a stand-in on loopback
# only. Ends with 1 if the behaviour changes.
set -eu
FOLDER=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
export FOLDER
trap 'rm -rf "$FOLDER"' EXIT
npm install --silent --no-audit --no-fund --prefix "$FOLDER" @agentclientprotocol/codex-acp@2.6.0 >/dev/null
"$FOLDER/node_modules/.bin/codex-acp" --version
python3 - <<'PYTHON'
import json, os, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

status = 429


class Api(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        kind = "invalid_request_error" if status == 400 else "rate_limit_exceeded"
        data = json.dumps({"error": {"message": "no", "type": kind, "code": kind, "param": None}}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=server.serve_forever, daemon=True).start()
folder = os.environ["FOLDER"]
provider = {"name": "x", "base_url": f"http://127.0.0.1:{server.server_address[1]}/v1", "wire_api": "responses",
            "env_key": "KEY", "request_max_retries": 0, "stream_max_retries": 0}
config = {"model": "m", "model_provider": "x", "model_providers": {"x": provider}}
TYPED = {"_meta": {"jetbrains": {"air": {"version": 1, "capabilities": ["sessionFailure"]}}}}


def turn(capabilities):
    env = {"PATH": os.environ["PATH"], "HOME": folder, "KEY": "dummy", "CODEX_CONFIG": json.dumps(config)}
    agent = subprocess.Popen([f"{folder}/node_modules/.bin/codex-acp"], env=env, cwd=folder, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(number, method, params):
        agent.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\n")
        agent.stdin.flush()
        for line in agent.stdout:
            message = json.loads(line)
            if message.get("id") == number and "method" not in message:
                return message["result"]

    ask(0, "initialize", {"protocolVersion": 1, "clientCapabilities": capabilities})
    session = ask(1, "session/new", {"cwd": folder, "mcpServers": []})["sessionId"]
    answer = ask(2, "session/prompt", {"sessionId": session, "prompt": [{"type": "text", "text": "hello"}]})
    agent.terminate()
    agent.wait()
    failure = answer["_meta"].get("jetbrains", {}).get("air", {}).get("sessionFailure", {})
    return answer["stopReason"], answer["usage"], failure.get("category"), failure.get("actions")


seen = []
for status, capabilities in ((429, {}), (429, TYPED), (400, TYPED)):
    seen.append(turn(capabilities))
    print(status, "typed" if capabilities else "plain", *seen[-1])
end = ("end_turn", None)
sys.exit(seen != [(*end, None, None), (*end, "limit", ["retry"]), (*end, "service", ["retry"])])
PYTHON
