"""An S3 server on loopback, moto's, that can be told to fail."""

import contextlib
import os
import re
import socket
import threading
import time
from dataclasses import dataclass

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "bucket"
KEYS = {"AWS_ACCESS_KEY_ID": "key-of-tests", "AWS_SECRET_ACCESS_KEY": "secret-of-tests", "AWS_REGION": "us-east-1"}


@dataclass
class Fault:
    """What happens to requests whose ``METHOD /path`` matches: ``times`` of them, or every ``every``-th."""

    pattern: str
    status: int = 0
    """Answer with this status; 0 cuts the connection in the middle of the request."""
    code: str = "InternalError"
    delay: float = 0.0
    """Answer properly, but only after these seconds."""
    times: int = 1
    every: int = 1
    met: int = 0
    done: int = 0

    def strikes(self, request):
        if not re.search(self.pattern, request) or self.done >= self.times:
            return False
        self.met += 1
        self.done += self.met % self.every == 0
        return self.met % self.every == 0


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


class ObjectStore:
    def __init__(self):
        self.app = DomainDispatcherApplication(create_backend_app)
        self.faults, self.requests, self.lock = [], [], threading.Lock()
        self.server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=Quiet)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self.files.create_dir(BUCKET)

    @property
    def files(self):
        """pyarrow's own view of the server, as the oracle of what is stored."""
        from pyarrow.fs import S3FileSystem

        keys = {"access_key": KEYS["AWS_ACCESS_KEY_ID"], "secret_key": KEYS["AWS_SECRET_ACCESS_KEY"]}
        return S3FileSystem(endpoint_override=self.endpoint, region="us-east-1", allow_bucket_creation=True, **keys)

    def url(self, prefix, bucket=BUCKET):
        return f"s3://{bucket}/{prefix}?endpoint_override={self.endpoint}"

    def names(self, prefix=""):
        from pyarrow.fs import FileSelector

        folder = f"{BUCKET}/{prefix}".rstrip("/")
        found = self.files.get_file_info(FileSelector(folder, allow_not_found=True, recursive=True))
        return sorted(each.path.removeprefix(f"{folder}/") for each in found if each.is_file)

    def read(self, name):
        with self.files.open_input_file(f"{BUCKET}/{name}") as file:
            return file.read()

    @contextlib.contextmanager
    def failing(self, *faults):
        """Let requests fail in the block; every fault must have struck at its end."""
        self.faults = list(faults)
        try:
            yield
        finally:
            self.faults = []
        assert [fault for fault in faults if not fault.done] == []

    def __call__(self, environ, start_response):
        request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        with self.lock:
            self.requests.append(request)
            fault = next((fault for fault in self.faults if fault.strikes(request)), None)
        if fault and fault.delay:
            time.sleep(fault.delay)
        elif fault and not fault.status:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0) // 2)
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        elif fault:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            body = f"<Error><Code>{fault.code}</Code><Message>told to fail</Message></Error>".encode()
            start_response(
                f"{fault.status} X", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
            )
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
        return self.app(environ, start_response)

    def close(self):
        self.server.shutdown()


@pytest.fixture(scope="module")
def object_store():
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in KEYS.items():
            patch.setenv(name, value)
        store = ObjectStore()
        yield store
        store.close()
