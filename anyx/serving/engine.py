"""Concurrent requests, answered side by side: what comes close together is a batch of the LLM, and so are its media.

One thread lets the LLM speak, `DecodingQueue` has one for every output. A medium is asked for as soon as its signal
group is said, and nobody who only wants words waits for it: the next batch speaks while the decoders of the last one
work. A row that fails, or that nobody waits for any more, leaves its neighbours alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any

import torch

from anyx.decoding import Sampling, Words, seeds_of, speak
from anyx.model import AnyX
from anyx.ports import Making
from anyx.processor import Conversation, conversation_of
from anyx.serving.jobs import Item, Job, Order
from anyx.speaking.making import Asked, DecodingQueue
from anyx.watching import Cancelled

log = logging.getLogger(__name__)


class Busy(RuntimeError):
    """As many requests wait as may wait; come again in `after` seconds."""

    def __init__(self, message: str, after: int) -> None:
        super().__init__(message)
        self.after = after


class Closing(RuntimeError):
    """The engine finishes what it has and takes nothing new."""


class Engine:
    """A model that answers many at once; a context manager, or `close` it.

    At most `most` requests speak side by side, each having waited at most `window` seconds for others while the LLM was
    idle; `queue` more may wait or have their media made. `on_batch` is told how many speak side by side.
    """

    def __init__(
        self,
        model: AnyX,
        *,
        most: int = 8,
        window: float = 0.005,
        queue: int = 64,
        most_media: int = 8,
        on_batch: Callable[[int], None] | None = None,
    ) -> None:
        if most < 1 or queue < 0 or window < 0:
            told = f"most: {most}, queue: {queue} and window: {window} given"
            raise ValueError(f"{told}; they are 1 or more requests, 0 or more requests, and 0 or more seconds")
        self.model, self.most, self.window, self.queue = model, most, window, queue
        self.on_batch = on_batch
        limit = model.llm.model.config.get_text_config().to_dict().get("max_position_embeddings")
        self.context: int | None = limit if isinstance(limit, int) else None
        self.makers = DecodingQueue(model, window=window, most=most_media)
        self.alive: set[Job] = set()
        self.refusing = False
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._pace = 1.0  # seconds of a request, as a running mean
        self._merged = model.merged()
        self._merged.__enter__()
        self._thread = threading.Thread(target=self._work, name="anyx-speak", daemon=True)
        self._thread.start()

    def order(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling | None = None,
        seed: int = 0,
        how: Mapping[str, Making] | None = None,
    ) -> Order:
        """Lay a conversation out and transform its media, in the caller's thread; ValueError for what cannot be."""
        sample = self.model.processor(conversation_of(conversation), generate=True)
        if self.context is not None and len(sample.ids) >= self.context:
            raise ValueError(f"messages: {len(sample.ids)} tokens given; the model reads {self.context - 1} at most")
        return Order(sample, sampling or Sampling(), seeds_of(seed, 1)[0], how or {})

    def submit(self, orders: Sequence[Order], tell: Callable[[int, Item], None]) -> list[Job]:
        """Take all of these requests or none; `tell` is called with the place of one and what it hears.

        `Busy` where too many wait already, `Closing` when the engine ends.
        """
        with self._changed:
            self.admit(len(orders))
            jobs = [Job(one, partial(tell, place), self._gone) for place, one in enumerate(orders)]
            self.alive.update(jobs)
            self._waiting.extend(jobs)
            self._changed.notify_all()
        return jobs

    def admit(self, count: int = 1) -> None:
        """`Closing` or `Busy` where so many requests would not be taken now; ask before reading what they send."""
        if self.refusing:
            raise Closing("the server is shutting down")
        if count > self.most + self.queue - len(self.alive):
            raise Busy(f"{len(self.alive)} requests are in work or wait, and {count} more find no room", self.after)

    def cancel(self, job: Job) -> None:
        """Give a request up; one that waits leaves the queue at once."""
        job.cancel()
        with self._changed:
            waited = job in self._waiting
            if waited:
                self._waiting.remove(job)
        if waited:
            job.end(Cancelled("the request was cancelled while it waited"))

    @property
    def waiting(self) -> int:
        """How many requests have not begun to speak."""
        return len(self._waiting)

    @property
    def working(self) -> bool:
        """Whether the thread that answers is there."""
        return self._thread.is_alive()

    @property
    def after(self) -> int:
        """After how many whole seconds there should be room again."""
        return max(1, min(60, round(self._pace * len(self.alive) / self.most)))

    def drain(self, timeout: float | None = None) -> bool:
        """Take nothing new, and wait until all is answered; whether it is."""
        with self._changed:
            self.refusing = True
            return self._changed.wait_for(lambda: not self.alive, timeout)

    def close(self, timeout: float | None = 0.0) -> None:
        """Answer what is here for `timeout` seconds, give up the rest, and end the threads."""
        if self._closed:
            return
        if not self.drain(timeout):
            for job in list(self.alive):
                self.cancel(job)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self.makers.close()
        self._merged.__exit__(None, None, None)

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self) -> None:
        while batch := self._gather():
            self._answer(batch)

    def _gather(self) -> list[Job]:
        """The request that waits longest and those that go with it; [] at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            batch = list[Job]()
            while self._waiting or batch:
                first = batch[0] if batch else self._waiting[0]
                for job in [job for job in self._waiting if job.order.goes_with(first.order)]:
                    if len(batch) < self.most:
                        self._waiting.remove(job)
                        batch.append(job)
                left = first.came + self.window - time.monotonic()
                if len(batch) == self.most or left <= 0 or self._closed:
                    break
                self._changed.wait(left)
            return batch

    def _answer(self, jobs: Sequence[Job]) -> None:
        try:
            self._speak(jobs)
        except Cancelled as error:
            for job in jobs:
                job.end(error)
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].end(error)
                return
            log.exception("%d requests could not be answered together; each is tried alone", len(jobs))
            for job in jobs:
                if job.begun:
                    job.end(error)
                elif not job.ended:
                    self._answer([job])

    def _speak(self, jobs: Sequence[Job]) -> None:
        model = self.model
        batch = model.processor.collate([job.order.sample for job in jobs], generate=True)
        with torch.inference_mode():
            prompts, _ = model.read(batch.to(model.device), side="left")
        lengths = prompts.mask.sum(-1).tolist()
        if self.context is not None and max(lengths) >= self.context:
            for job, length in zip(jobs, lengths, strict=True):
                if length >= self.context:
                    job.end(ValueError(f"messages: {length} tokens given; the model reads {self.context - 1} at most"))
            rest = [job for job in jobs if not job.ended]
            return self._speak(rest) if rest else None
        for job, length in zip(jobs, lengths, strict=True):
            job.room = min(job.room, self.context - length) if self.context is not None else job.room
        ids, text = model.processor.prompt.stop
        if self.on_batch is not None:
            self.on_batch(len(jobs))
        how: dict[str, Any] = {"stop": {*ids, *model.llm.stop}, "stop_text": text}
        for heard in speak(
            model.llm,
            *(prompts.embeddings, prompts.mask, prompts.context),
            sampling=jobs[0].order.sampling,
            seeds=[job.order.seed for job in jobs],
            watch=[job.watch for job in jobs],
            rooms=[job.room for job in jobs],
            **how,
        ):
            for item in heard:
                job = jobs[item.row]
                if isinstance(item, Words):
                    job.say(item.text)
                elif not job.watch.cancelled:
                    making = job.order.how.get(item.key, Making())
                    asked = Asked(item.key, item.states, job.order.seed, item.number, making, job.watch)
                    job.show(item.key, self.makers.submit(asked))
            for job in jobs:
                if job.spoken:
                    self._finish(job)
        for job in jobs:
            self._finish(job)
        return None

    def _finish(self, job: Job) -> None:
        job.end(Cancelled("the request was cancelled") if job.watch.cancelled else None)

    def _gone(self, job: Job) -> None:
        with self._changed:
            self._pace += 0.2 * (time.monotonic() - job.came - self._pace)
            self.alive.discard(job)
            self._changed.notify_all()
