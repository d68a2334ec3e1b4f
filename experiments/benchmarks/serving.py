"""What a server costs and gains: one request by `AnyX.stream`, by the engine and by HTTP; then eight clients at once.

    python experiments/benchmarks/serving.py experiments/emoji/model "What is a penguin?" --rounds 5

The three ways take turns, so that work beside them is shared. Printed: medians in ms, replies a second, and the mean of
`anyx_batch_size` while the eight asked.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import httpx

from anyx.model import AnyX
from anyx.serving.app import application
from anyx.serving.engine import Engine
from anyx.serving.jobs import Item, items
from anyx.serving.running import Running
from anyx.serving.settings import Settings
from anyx.serving.sockets import listening


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("words")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=8)
    given = parser.parse_args()
    model, chat = AnyX.from_pretrained(given.model), [{"role": "user", "content": given.words}]
    sizes: list[int] = []
    with Engine(model) as engine:  # the model stays merged within, for `stream` too
        running = Running(application(engine, Settings(name="model")), listening("127.0.0.1", 0))
        engine.on_batch = sizes.append
        thread = threading.Thread(target=running.run)
        thread.start()
        while not running.started:
            time.sleep(0.01)
        body = {"model": "model", "messages": chat, "seed": 0}
        with httpx.Client(base_url=running.url, timeout=600) as http:

            def by_engine() -> None:
                inbox: SimpleQueue[Item] = SimpleQueue()
                engine.submit([engine.order(chat)], lambda _, item: inbox.put(item))
                list(items(inbox.get))

            def by_http() -> None:
                http.post("/v1/chat/completions", json=body).raise_for_status()

            ways = {"stream": lambda: list(model.stream(chat)), "engine": by_engine, "http": by_http}
            took: dict[str, list[float]] = {name: [] for name in ways}
            for turn in range(given.rounds + 1):
                for name, way in ways.items():
                    took[name] += [seconds(way)] if turn else [seconds(way)][:0]  # the first turn warms up
            sizes.clear()
            count = given.rounds * given.clients
            with ThreadPoolExecutor(given.clients) as pool:
                whole = seconds(lambda: list(pool.map(lambda _: by_http(), range(count))))
        running.stop()
        thread.join()
    alone = {name: statistics.median(found) for name, found in took.items()}
    print(", ".join(f"{name} {median * 1000:.0f} ms" for name, median in alone.items()))
    print(f"one client {1 / alone['http']:.2f} replies a second; {given.clients} clients {count / whole:.2f}")
    print(f"mean batch {statistics.mean(sizes):.1f}")


if __name__ == "__main__":
    main()
