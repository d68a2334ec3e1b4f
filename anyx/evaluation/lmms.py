"""anyx models in lmms-eval: `python -m lmms_eval --model anyx --model_args pretrained=FOLDER --tasks mme`.

lmms-eval (0.7) lives in an environment of its own (`pip install anyx[lmms]`): nothing here is imported by the rest of
anyx, and it finds `manifests` by the entry point `lmms_eval.models`. Both of its contracts are met: tasks that hand
over a prompt and media (`AnyXSimple`, by `--force_simple`), and those that hand over messages (`AnyXChat`).

Of its evaluator this works round: what `loglikelihood` returns becomes a text unless it is wrapped; of choices the one
with the smallest value wins, so that it has to be a loss; `clean()` deletes every module that a model object holds,
so that the network is held in a tuple. See `experiments/lmms_eval/README.md` for what cannot be worked round.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lmms_eval.api.instance import GenerationResult
from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest

from anyx.evaluation.answering import Answering, Asked, loss_of
from anyx.evaluation.corpus import Message
from anyx.model import AnyX


def manifests() -> Any:
    """What the entry point `lmms_eval.models` returns."""
    return ModelManifest(
        model_id="anyx",
        simple_class_path="anyx.evaluation.lmms.AnyXSimple",
        chat_class_path="anyx.evaluation.lmms.AnyXChat",
    )


class AnyXSimple(lmms):  # type: ignore[misc]
    """Tasks of a prompt and its media. Arguments come as text, from `--model_args`, `--batch_size` and `--device`.

    `pretrained` is a model's folder or Hub id; `out` where media of replies are written; `tokens` the most a reply has
    where the task does not say; `seed` begins the decoders' noise.
    """

    is_simple = True

    def __init__(
        self,
        pretrained: str,
        out: str = "out/lmms",
        tokens: str | int = 64,
        seed: str | int = 0,
        batch_size: str | int = 1,
        device: str | None = None,
    ) -> None:
        super().__init__()
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError("WORLD_SIZE: anyx answers lmms-eval in one process; start it without accelerate, torchrun")
        if not str(batch_size).isdecimal() or not int(batch_size):
            raise ValueError(f"batch_size: {batch_size!r} was given, but a whole number of 1 or more is needed")
        model = AnyX.from_pretrained(pretrained, device=device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.answering = Answering(model.eval(), Path(out), tokens=int(tokens), seed=int(seed), batch=int(batch_size))

    def asked(self, request: Any) -> Asked:
        """The conversation of a request, and how to answer it."""
        text, settings, visuals, number, task, split = request.args
        media = visuals(self.task_dict[task][split][number])
        return Asked(self.answering.user(text, media), settings, task, number)

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Replies as text, or as JSON with files where media are shown."""
        return self.answering(map(self.asked, requests), bar=len(requests))

    def loglikelihood(self, requests: Sequence[Any]) -> list[Any]:
        """The loss of each continuation, and whether greedy decoding would say it."""
        found = []
        for request in requests:
            text, target, *where = request.args
            if not where:
                raise ValueError("acc_mutual_info: lmms-eval takes the largest of what is best when small; use acc")
            visuals, number, task, split = where
            row = self.task_dict[task][split][number]
            answer = target if isinstance(target, str) else str(target(row))
            found.append(
                GenerationResult(loss_of(self.answering.held[0], self.answering.user(text, visuals(row)), answer))
            )
        return found

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[Any]:
        """What is said in each round, a list a request; the task says what is asked next and when it ends."""
        return [GenerationResult(self.answering.rounds(*self.started(request))) for request in requests]

    def started(self, request: Any) -> Any:
        """The first round of a request, and what makes the next of what was said."""
        text, settings, visuals, following, number, task, split = request.args
        row = self.task_dict[task][split][number]

        def step(said: list[str], told: Any) -> tuple[list[Message] | None, list[str], Any]:
            found = following(row, previous_output=said, round_idx=len(said), previous_round_info=told)
            media, words, ended, kept, told = rounded(task, found, 5)
            return None if ended else self.answering.user(words, media), list(kept or said), told

        return Asked(self.answering.user(text, visuals(row)), settings, task, number), step


class AnyXChat(AnyXSimple):
    """Tasks of messages."""

    is_simple = False

    def asked(self, request: Any) -> Asked:
        """The messages of a request, and how to answer it."""
        _, messages, settings, number, task, split = request.args
        turns = messages(self.task_dict[task][split][number])
        return Asked(self.answering.messages(turns), settings, task, number)

    def started(self, request: Any) -> Any:
        """The first round of a request, and what makes the next of what was said."""
        _, messages, _, number, task, split = request.args
        row = self.task_dict[task][split][number]

        def step(said: list[str], told: Any) -> tuple[list[Message] | None, list[str], Any]:
            found = messages(row, previous_output=said, round_idx=len(said), previous_round_info=told)
            turns, ended, kept, told = rounded(task, found, 4)
            return None if ended else self.answering.messages(turns), list(kept or said), told

        return self.asked(request), step


def rounded(task: str, found: Any, size: int) -> Any:
    """What a task of several rounds asks next, checked to be of the form that lmms-eval documents."""
    if not isinstance(found, tuple) or len(found) != size:
        raise ValueError(f"task {task}: what it asks next is a tuple of {size}, but {found!r:.60} was found")
    return found
