"""A front in an HTTP server of its own thread, as Ray Serve runs it in a process."""

import asyncio
import contextlib
import threading
import time

import uvicorn
from starlette.requests import Request


@contextlib.contextmanager
def listening(front):
    """Serve ``front`` on a free port of loopback; yield the port."""

    async def app(scope, receive, send):
        response = await front.answer(Request(scope, receive))
        await response(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_level="critical"))
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
