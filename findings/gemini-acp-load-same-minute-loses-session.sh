#!/bin/sh
# @google/gemini-cli 0.61.0: `gemini --acp` cannot load a session in the clock minute in which it began.
#
# session/load in a new process answers -32603 "... No previous sessions found for this project." although the session had
# a complete turn. Some seconds later, in the next minute, it would have loaded it.
#
# Seen on 2026-11-30: the error in the same minute.
#
# Installs the pinned package (100 MB, needs npm and node 20) into a temporary folder and talks to a stand-in on loopback
# only. It waits for the beginning of a minute. Ends with 1 if the behaviour changes.
set -eu
FOLDER=$(mktemp -d)
export FOLDER
trap 'rm -rf "$FOLDER"' EXIT
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$FOLDER" @google/gemini-cli@0.61.0 >/dev/null
"$FOLDER/node_modules/.bin/gemini" --version
python3 - <<'PYTHON'
import json, os, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROUTE = json.dumps({"reasoning": "-", "next_speaker": "user", "model_choice": "flash", "complexity_score": 10,
                    "complexity_reasoning": "-"})


class Api(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        stream = "stream" in self.path
        content = {"role": "model", "parts": [{"text": "fine" if stream else ROUTE}]}
        usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
        frame = {"candidates": [{"index": 0, "content": content, "finishReason": "STOP"}], "usageMetadata": usage}
        data = json.dumps({"totalTokens": 10} if "countTokens" in self.path else frame).encode()
        data = b"data: " + data + b"\n\n" if stream else data
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if stream else "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=server.serve_forever, daemon=True).start()
folder = os.environ["FOLDER"]
env = {"PATH": os.environ["PATH"], "HOME": folder, "GEMINI_API_KEY": "dummy", "GEMINI_CLI_NO_RELAUNCH": "true",
       "GEMINI_CLI_TRUST_WORKSPACE": "true", "GOOGLE_GEMINI_BASE_URL": f"http://127.0.0.1:{server.server_address[1]}"}


def run(*calls):
    agent = subprocess.Popen([f"{folder}/node_modules/.bin/gemini", "--acp"], env=env, cwd=folder, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    session = None
    for number, (method, params) in enumerate([("initialize", {"protocolVersion": 1, "clientCapabilities": {}}), *calls]):
        params = {**params, "sessionId": session} if session else params
        agent.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\n")
        agent.stdin.flush()
        for line in agent.stdout:
            message = json.loads(line)
            if message.get("id") == number and "method" not in message:
                break
        session = message.get("result", {}).get("sessionId", session)
    agent.kill()
    agent.wait()
    return session, message


where = {"cwd": folder, "mcpServers": []}
for attempt in range(3):  # on a busy machine the minute can be over before
    time.sleep(60 - time.time() % 60 + 0.1 if time.time() % 60 > 3 else 0)
    began = time.time()
    session, turn = run(("session/new", where), ("session/prompt", {"prompt": [{"type": "text", "text": "hello"}]}))
    _, loaded = run(("session/load", {**where, "sessionId": session}))
    print("turn:", turn["result"]["stopReason"], f"{time.time() - began:.0f} s")
    if int(time.time()) // 60 == int(began) // 60:
        break
else:
    sys.exit("too slow: the minute was over")
print("load in the same minute:", json.dumps(loaded.get("error", "it was loaded"))[:200])
sys.exit(loaded.get("error", {}).get("code") != -32603)
PYTHON
