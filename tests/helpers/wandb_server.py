"""As much of the Weights & Biases server as a run talks to, on the loopback interface."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789" * 4  # an API key of the right form, of nobody


class Server(ThreadingHTTPServer):
    """Takes runs as the real one does; what it was sent can be looked up.

    Attributes:
        runs: by id: the rows of the history, the last summary and config, tags, the exit code.
        deaf: whether to drop connections without a word from now on.
        refused: ids of runs whose history is refused.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs: dict[str, dict[str, Any]] = {}
        self.deaf = False
        self.refused: set[str] = set()

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that hang up."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def run(self, identity: str) -> dict[str, Any]:
        """What was sent of a run."""
        return self.runs.setdefault(identity, {"history": [], "upserts": 0, "exit": None})

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL reply; empty for what a run does well without."""
        project = {"id": "UA==", "name": "unlearn", "entity": {"id": "RQ==", "name": "me"}}
        if "viewer" in query:
            return {"viewer": {"id": "VQ==", "entity": "me", "username": "me", "flags": "{}"}}
        if "RunResumeStatus" in query:
            known = variables["name"] in self.runs
            return {"model": project | {"bucket": self._resumed(variables) if known else None}}
        if "upsertBucket" in query:
            run = self.run(variables["name"])
            run["upserts"] += 1
            run |= {key: value for key, value in variables.items() if value is not None}
            bucket = {"id": "Qg==", "name": variables["name"], "project": project, "config": "{}"}
            return {"upsertBucket": {"bucket": bucket, "inserted": run["upserts"] == 1}}
        if "createRunFiles" in query:
            files = [{"name": f, "uploadUrl": f"{self.url}/up"} for f in variables["files"]]
            return {"createRunFiles": {"runID": "Qg==", "uploadHeaders": [], "files": files}}
        return {}

    def _resumed(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = self.run(variables["name"])
        return {
            "id": "Qg==",
            "name": variables["name"],
            "historyLineCount": len(run["history"]),
            "historyTail": json.dumps([json.dumps(row) for row in run["history"][-1:]]),
            "eventsLineCount": 0,
            "eventsTail": "[]",
            "logLineCount": 0,
            "summaryMetrics": "{}",
            "config": "{}",
            "wandbConfig": json.dumps({"t": 1}),
            "tags": [],
        }

    def stream(self, identity: str, sent: dict[str, Any]) -> None:
        """Take a piece of a run's history, or its end."""
        run = self.run(identity)
        for name, chunk in (sent.get("files") or {}).items():
            if name == "wandb-history.jsonl":
                rows = [json.loads(line) for line in chunk["content"]]
                run["history"][chunk["offset"] :] = rows
            if name == "wandb-summary.json":
                run["summary"] = json.loads(chunk["content"][-1])
        if sent.get("complete"):
            run["exit"] = sent["exitcode"]


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.deaf:
            self.close_connection = True
            return
        reply: dict[str, Any] = {}
        status = 200
        if self.path.endswith("/graphql"):
            asked = json.loads(body)
            reply = {"data": self.server.answer(asked["query"], asked.get("variables") or {})}
        elif self.path.endswith("/file_stream"):
            identity = self.path.split("/")[-2]
            if identity in self.server.refused:
                status = 404
            else:
                self.server.stream(identity, json.loads(body))
        text = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_PUT = do_POST
    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(server: Server | None = None) -> Iterator[Server]:
    """A server, until the end of the block."""
    server = server or Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def silent() -> Iterator[str]:
    """The URL of an endpoint that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def closed() -> str:
    """The URL of an endpoint where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"
