"""Servers on this machine that answer as a script says, and count what they are asked."""
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


def completion(content, **message):
    "Return what a server says when all is well."
    return {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content, **message}}]}


@pytest.fixture
def serve():
    "Start servers that answer by a function: request number, body -> (status, body as dict or bytes); each counts its prompts."
    servers = []

    def start(script):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server.lock:
                    server.asked.append((request["messages"][0]["content"], request["seed"]))
                    server.requests.append(request)
                    number = len(server.asked)
                answer = script(number, request)
                if answer is None:
                    return self.connection.close()
                data = answer[1] if isinstance(answer[1], bytes) else json.dumps(answer[1]).encode()
                try:
                    self.send_response(answer[0])
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    pass  # the judge went away

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.asked, server.requests, server.lock = [], [], threading.Lock()
        server.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
