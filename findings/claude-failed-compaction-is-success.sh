#!/bin/sh
# Claude Code 2.1.329: a `/compact` that the API refused ends with a result that says success.
#
# Who drives the CLI by `claude -p --input-format stream-json` and judges `/compact` by its result (subtype, is_error) takes
# a conversation for compacted that is as long as before. Only a status line in between has the truth.
#
# Seen on 2026-11-30, with the API answering 529 to every request of the compaction:
#   {"type":"system","subtype":"status","status":null,"compact_result":"failed","compact_error":"..."}
#   {"type":"result","subtype":"success","is_error":false,"result":"Error during compaction: ...",...}
#
# Installs the pinned CLI into a temporary folder (its Python SDK's wheel brings it) and talks to a stand-in on loopback only.
# Ends with 1 if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-deps --target "$folder/sdk" claude-agent-sdk==0.2.186
export CLI="$folder/sdk/claude_agent_sdk/_bundled/claude" FOLDER="$folder"
"$CLI" --version
python3 - <<'PYTHON'
import json, os, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

refuse = threading.Event()
MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
           "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 1}}
ANSWER = [
    {"type": "message_start", "message": MESSAGE},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "fine"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]


class Api(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        if refuse.is_set():
            status, kind = 529, "application/json"
            data = json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
        else:
            status, kind = 200, "text/event-stream"
            data = "".join(f"event: {part['type']}\ndata: {json.dumps(part)}\n\n" for part in ANSWER)
        self.send_response(status)
        self.send_header("content-type", kind)
        self.end_headers()
        self.wfile.write(data.encode())


server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=server.serve_forever, daemon=True).start()
home = os.environ["FOLDER"]
env = {
    "PATH": os.environ["PATH"], "HOME": home, "CLAUDE_CONFIG_DIR": f"{home}/config", "ANTHROPIC_API_KEY": "dummy",
    "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{server.server_address[1]}", "CLAUDE_CODE_MAX_RETRIES": "0",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "NO_PROXY": "127.0.0.1",
}
cli = subprocess.Popen(
    [os.environ["CLI"], "-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"],
    env=env, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
)


def turn(text):
    """Return the lines of a turn."""
    print(json.dumps({"type": "user", "message": {"role": "user", "content": text}}), file=cli.stdin, flush=True)
    lines = []
    for line in cli.stdout:
        lines.append(json.loads(line))
        if lines[-1]["type"] == "result":
            return lines
    sys.exit("the CLI ended")


turn("one")
turn("two")
refuse.set()
lines = turn("/compact")
status = next((line for line in lines if "compact_result" in line), {})
result = {key: lines[-1].get(key) for key in ("subtype", "is_error", "result")}
print("status:", {key: status.get(key) for key in ("compact_result", "compact_error")})
print("result:", result)
cli.kill()
same = status.get("compact_result") == "failed" and (result["subtype"], result["is_error"]) == ("success", False)
print("as seen" if same else "CHANGED")
sys.exit(not same)
PYTHON
