"""Load on ``gradret serve``: requests a second, errors and latency, against the same searches without HTTP.

    python -m benchmarks.serve [RUN] [--clients 1 8] [--seconds 15]

RUN is the folder of a finished run; without it, the quickstart is run first. The server listens on loopback with one
replica. Each client sends the run's test queries one after the other over a connection that stays open, and asks again
as soon as it has the answer (closed loop). Clients, server and Ray share the machine's cores. The sides are:

- ``health``: a request that searches nothing;
- ``tuned``: the tuned model;
- ``all``: the tuned model, the base model, BM25 and the hybrid;
- ``in process``: the same searches in a process without HTTP and without Ray, one after the other.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

import gradret
from benchmarks.hardware import hardware, result_path
from gradret.serving.searcher import Searcher, systems_of

MANY = str(10**6)
TOP = 10


def main() -> None:
    """Measure all sides and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, nargs="?", help="the folder of a finished run")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seconds", type=float, default=15.0)
    parsed = parser.parse_args()
    run = parsed.run or gradret.run(gradret.load("configs/quickstart.yaml")).folder
    finished = gradret.open_run(run)
    rows = finished.artifact("queries").table("queries").to_pylist()
    queries = [row["text"] for row in rows if row["split"] == "test"]
    systems = {"tuned": ["tuned"], "all": systems_of(run)}
    cells = [in_process(run, name, wanted, queries, parsed.seconds / 3) for name, wanted in systems.items()]
    with server(run) as (port, facts):
        for clients, (name, wanted) in itertools.product(parsed.clients, {"health": [], **systems}.items()):
            seconds = parsed.seconds / 3 if name == "health" else parsed.seconds
            cells.append(loaded(port, name, wanted, queries, clients, seconds))
            print(json.dumps(cells[-1]), flush=True)
        facts["search_mib"] = replica_mib()
    documents = finished.artifact("ingest").counts["rows_out"]
    result = {"hardware": hardware(), "load": os.getloadavg(), "documents": documents, "queries": len(queries)}
    result |= {"seconds": parsed.seconds, **facts, "cells": cells}
    result_path("serve", "json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    result_path("serve", "md").write_text(markdown(result), encoding="utf-8")


@contextmanager
def server(run: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Start the server of a run; yield its port, and the seconds until it was ready and, afterwards, until it ended."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    command = [sys.executable, "-m", "gradret.cli", "serve", str(run), "--port", str(port)]
    started = time.monotonic()
    with subprocess.Popen(
        [*command, "--client-rate", MANY, "--total-rate", MANY], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            print(process.stdout.readline().strip(), flush=True)
            facts = {"ready_seconds": time.monotonic() - started}
            yield port, facts
        finally:
            ended = time.monotonic()
            process.send_signal(signal.SIGINT)
            process.wait()
    facts["end_seconds"] = time.monotonic() - ended


def replica_mib() -> float:
    """Memory of the replica that searches, resident, in MiB."""
    found = [each for each in psutil.process_iter(["name", "cmdline"]) if "gradret:search" in str(each.info["cmdline"])]
    return max(each.memory_info().rss for each in found) / 2**20


def loaded(
    port: int, name: str, systems: Sequence[str], queries: Sequence[str], clients: int, seconds: float
) -> dict[str, Any]:
    """Let clients ask for some seconds, after one second that is not counted."""
    times: list[list[tuple[float, float, bool]]] = [[] for _ in range(clients)]
    begin = time.monotonic() + 1

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for query in itertools.cycle([*queries[number:], *queries[:number]]):
            sent = time.monotonic()
            if sent >= begin + seconds:
                return
            good = ask(connection, systems, query)
            times[number].append((sent, time.monotonic() - sent, good))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = [(latency, good) for each in times for sent, latency, good in each if sent >= begin]
    return cell(f"{name}, HTTP", clients, seconds, [latency for latency, _ in counted], [good for _, good in counted])


def ask(connection: http.client.HTTPConnection, systems: Sequence[str], query: str) -> bool:
    """Send a request and read the answer; whether it is right."""
    if not systems:
        connection.request("GET", "/health")
        return bool(json.loads(connection.getresponse().read())["status"] == "ok")
    body = json.dumps({"q": query, "system": list(systems), "top": TOP})
    connection.request("POST", "/search", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    return response.status == 200 and list(answer["systems"]) == list(systems)


def in_process(run: Path, name: str, systems: Sequence[str], queries: Sequence[str], seconds: float) -> dict[str, Any]:
    """The same searches without HTTP."""
    searcher, times = Searcher(run), list[float]()
    begin = time.monotonic()
    for query in itertools.cycle(queries):
        sent = time.monotonic()
        if sent >= begin + seconds:
            break
        searcher.search(query, systems, TOP)
        times.append(time.monotonic() - sent)
    return cell(f"{name}, in process", 1, seconds, times, [True] * len(times))


def cell(side: str, clients: int, seconds: float, times: Sequence[float], good: Sequence[bool]) -> dict[str, Any]:
    """Requests a second, errors, and latency in milliseconds."""
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {
        "side": side,
        "clients": clients,
        "requests": len(times),
        "errors": good.count(False),
        "per_second": len(times) / seconds,
        "p50": 1000 * cuts[49],
        "p99": 1000 * cuts[98],
    }


def markdown(result: dict[str, Any]) -> str:
    """The result as a page."""
    rows = "\n".join(
        f"| {each['side']} | {each['clients']} | {each['requests']:,} | {each['errors']} | {each['per_second']:.0f} "
        f"| {each['p50']:.1f} | {each['p99']:.1f} |"
        for each in result["cells"]
    )
    load, seconds, memory = result["load"][0], result["seconds"], result["search_mib"]
    ready, ended = result["ready_seconds"], result["end_seconds"]
    return f"""# Load on `gradret serve`

{result["hardware"]}; load average {load:.1f} at the end. Command: `python -m benchmarks.serve`.
{result["documents"]:,} documents, {result["queries"]} test queries in turn, {TOP} documents a system, one replica.
Clients ask again as soon as they have the answer, for {seconds:g} s a row (a third of that for `health` and for
`in process`); they share the cores with the server and Ray. `all` is the tuned model, the base model, BM25 and the
hybrid. Ready after {ready:.1f} s, ended {ended:.1f} s after Ctrl-C; the replica that searches holds {memory:.0f} MiB.

| side | clients | requests | errors | requests/s | p50 ms | p99 ms |
|---|---|---|---|---|---|---|
{rows}
"""


if __name__ == "__main__":
    main()
