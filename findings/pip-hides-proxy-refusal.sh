#!/bin/sh
# pip 26.3: whose proxy refuses a host learns so only from a warning about a retry; without retries pip says nothing of it.
#
# A proxy that answers CONNECT with "403 why" stands in for the index. With `--retries 0` pip ends with "No matching
# distribution found for made", as if the index were there and had no such package. With a retry the reason is in a warning
# before that. An agent or a log that has the last lines alone looks for a package that is not missing.
#
# Seen on 2026-11-30 (lines shortened):
#   --retries 0:      ERROR: Could not find a version that satisfies the requirement made (from versions: none)
#                     ERROR: No matching distribution found for made
#   --retries 1:      WARNING: Retrying ... OSError('Tunnel connection failed: 403 why')': /simple/made/
#                     and the same two lines
#
# Installs the pinned pip into a temporary folder and talks to a stand-in on loopback only. Ends with 1 if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-deps --target "$folder" pip==26.3
PYTHONPATH="$folder" python3 -m pip --version
export FOLDER="$folder"
python3 - <<'PYTHON'
import os, socketserver, subprocess, sys, threading


class Proxy(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 403 why\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
folder = os.environ["FOLDER"]
proxy = f"http://127.0.0.1:{server.server_address[1]}"
env = {"PATH": os.environ["PATH"], "HOME": folder, "PYTHONPATH": folder, "https_proxy": proxy, "HTTPS_PROXY": proxy}
seen = []
for options in (["--retries", "0"], ["--retries", "1"]):
    words = [sys.executable, "-m", "pip", "download", "--no-cache-dir", "--disable-pip-version-check", *options]
    done = subprocess.run([*words, "-i", "https://index.example/simple/", "made"], env=env, cwd=folder,
                          capture_output=True, text=True)
    text = done.stdout + done.stderr
    seen.append(("403 why" in text, "No matching distribution found for made" in text))
    print(*options, "reason shown:", seen[-1][0])
same = seen == [(False, True), (True, True)]
print("as seen" if same else "CHANGED")
sys.exit(not same)
PYTHON
