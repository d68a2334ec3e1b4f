"""Media of signal groups: one batch for each output, outputs at once if wished, or one queue for many threads.

Decoders stay in memory. An item's noise is its own (`anyx.decoding.generator`), so neither neighbours nor threads show
in it beyond the rounding of a batch of another size.

Letters: n ids of a group, d width.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from anyx.decoding import generator
from anyx.interfaces import Condition, Media
from anyx.ports import Making, OutputPort
from anyx.watching import Cancelled, Watch, check


class Asked(NamedTuple):
    """A medium that was asked for: its output, the states at its group, its noise, and how it is made.

    It is the `number`-th of its reply, whose `watch` hears of the denoising steps.
    """

    key: str
    states: Float[Tensor, "n d"]
    seed: int
    number: int = 0
    how: Making = Making()
    watch: Watch | None = None

    def goes_with(self, other: Asked) -> bool:
        """Whether both may be made in one batch."""
        ways = self.how, other.how
        tensors = any(isinstance(value, Tensor) for way in ways for value in way.more.values())  # such as latents
        return self.key == other.key and (self.how is other.how or (not tensors and self.how == other.how))


class Maker(Protocol):
    """What makes media."""

    def make(self, asked: Sequence[Asked]) -> list[Media]:
        """The media, in the order they were asked for; ValueError where a decoder is not loaded."""
        ...


class Shows(Protocol):
    """What is asked of `anyx.model.AnyX`."""

    outputs: Mapping[str, OutputPort]

    def condition(self, key: str, states: Float[Tensor, "m n d"]) -> Condition:
        """States at an output's signal groups as conditions of its decoder."""
        ...


class Studio:
    """A model's decoders; with `concurrent`, those of several outputs run at once, each in a thread of its own.

    On a CPU the threads that torch computes with are shared out among them.
    """

    def __init__(self, model: Shows, *, concurrent: bool = False) -> None:
        self.model, self.concurrent = model, concurrent

    def make(self, asked: Sequence[Asked]) -> list[Media]:
        """One batch for each output and way of making."""
        batches: list[list[int]] = []
        for place, one in enumerate(asked):
            batch = next((batch for batch in batches if asked[batch[0]].goes_with(one)), None)
            if batch is None:
                batches.append([place])
            else:
                batch.append(place)
        work = [[asked[place] for place in batch] for batch in batches]
        made = self._at_once(work) if self.concurrent and len(work) > 1 else [self.batch(items) for items in work]
        found: dict[int, Media] = {}
        for batch, media in zip(batches, made, strict=True):
            found |= zip(batch, media, strict=True)
        return [found[place] for place in range(len(asked))]

    @torch.inference_mode()
    def batch(self, asked: Sequence[Asked]) -> list[Media]:
        """Media of one output that are made in one way; `Cancelled` where nobody waits for any of them any more."""
        key, how = asked[0].key, asked[0].how
        watched = [(one.watch, one.number) for one in asked if one.watch is not None]

        def report(done: int, total: int, finished: bool = False) -> None:
            for watch, number in watched:
                watch.tell("make", done, total, key=key, number=number, finished=finished)
            if not finished and len(watched) == len(asked):
                check([watch for watch, _ in watched])
            told.append((done, total))

        told: list[tuple[int, int]] = []
        decoder = self.model.outputs[key].decoder
        if decoder is None:
            raise ValueError(f"outputs.{key}: the model wants to show this output, but its decoder is not loaded")
        condition = self.model.condition(key, torch.stack([one.states for one in asked]))
        noise = [generator(one.seed, one.number) for one in asked]
        if watched:
            report(0, how.steps or 0)
        media: list[Media] = decoder(
            condition,
            generators=noise,
            steps=how.steps,
            guidance=how.guidance,
            progress=report if watched else None,
            **how.more,
        )
        if watched:
            report(*told[-1], finished=True)
        return media

    def _at_once(self, work: Sequence[list[Asked]]) -> list[list[Media]]:
        threads = torch.get_num_threads()
        share = max(1, threads // len(work))
        try:
            with ThreadPoolExecutor(len(work), initializer=torch.set_num_threads, initargs=(share,)) as pool:
                return list(pool.map(self.batch, work))
        finally:
            torch.set_num_threads(threads)  # what threads to come begin with was changed too


def awaited(future: Future[Media], watch: Watch | None) -> Media:
    """What a future gives; `Cancelled`, and no place in the queue any more, as soon as the watch is cancelled."""
    while watch is not None:
        try:
            return future.result(timeout=0.1)
        except TimeoutError:
            if watch.cancelled and not future.done():
                future.cancel()
                raise Cancelled("the reply was cancelled") from None
    return future.result()


class DecodingQueue:
    """Media asked for by several threads, such as a server's: of one output, what comes close together is a batch.

    A request waits at most `window` seconds for others, and a batch has at most `most` items. Every output has a thread
    of its own, so different ones are made at once. What one item of a batch cannot be made of is its caller's error
    alone: the others are made again without it. Use it as a context manager, or `close` it.
    """

    def __init__(self, model: Shows, *, window: float = 0.02, most: int = 8) -> None:
        if window < 0 or most < 1:
            raise ValueError(f"window: {window} and most: {most} given; they are 0 or more seconds and 1 or more items")
        self.studio, self.window, self.most = Studio(model), window, most
        self._lines: dict[str, SimpleQueue[tuple[Asked, Future[Media]] | None]] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = False

    def make(self, asked: Sequence[Asked]) -> list[Media]:
        """Wait for the media, in the order they were asked for."""
        waiting = [self.submit(one) for one in asked]
        return [awaited(future, one.watch) for future, one in zip(waiting, asked, strict=True)]

    def submit(self, asked: Asked) -> Future[Media]:
        """Ask for a medium without waiting for it."""
        future: Future[Media] = Future()
        with self._lock:
            if self._closed:
                raise ValueError("the decoding queue is closed; make a new one")
            if asked.key not in self._lines:
                line = self._lines[asked.key] = SimpleQueue()
                thread = threading.Thread(target=self._serve, args=(line,), name=f"anyx-{asked.key}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._lines[asked.key].put((asked, future))
        return future

    def close(self) -> None:
        """Make what was asked for, and end the threads."""
        with self._lock:
            self._closed = True
            for line in self._lines.values():
                line.put(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> DecodingQueue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self, line: SimpleQueue[tuple[Asked, Future[Media]] | None]) -> None:
        while (first := line.get()) is not None:
            batch, ends = [first], time.monotonic() + self.window
            while len(batch) < self.most:
                try:
                    one = line.get(timeout=max(0.0, ends - time.monotonic()))
                except Empty:
                    break
                if one is None:
                    line.put(None)
                    break
                batch.append(one)
            self._answer([item for item in batch if item[1].set_running_or_notify_cancel()])

    def _answer(self, batch: Sequence[tuple[Asked, Future[Media]]]) -> None:
        try:
            media = self.studio.make([asked for asked, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
            else:
                for item in batch:
                    self._answer([item])
            return
        for (_, future), medium in zip(batch, media, strict=True):
            future.set_result(medium)
