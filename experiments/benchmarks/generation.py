"""What replies cost, as ratios measured side by side: signal groups, batches, turns of a conversation, LoRA.

The LLM is the reference's workload: hidden 512, 8 layers, 8 heads, ffn 1408, vocabulary 32,000 and the signal tokens,
float32, random. A reply is forced: 16 words, a group of 24 ids, one word more; its base is transformers' `generate` of
the same 41 ids one by one, with a key-value cache. Projectors and decoders are not run.

    python experiments/benchmarks/generation.py [--threads 2] [--quick]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from ratios import compared
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, LogitsProcessor, LogitsProcessorList, PreTrainedTokenizerFast
from workload import LLAMA, TOKENS, TOWER

from anyx.decoding import Sampling, speak
from anyx.llm import LLM
from anyx.media import Image
from anyx.model import AnyX, InputPort, OutputPort
from anyx.ports import Making
from anyx.registry import resolve
from anyx.speaking.making import Asked, Studio
from anyx.speaking.session import Session

WORDS = int(LLAMA["vocab_size"])
UNET = {
    "block_out_channels": [32, 64], "norm_num_groups": 8, "layers_per_block": 1, "attention_head_dim": 8,
    "sample_size": 16, "cross_attention_dim": 16, "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}  # fmt: skip
VAE = {
    "block_out_channels": [32, 64], "norm_num_groups": 8, "layers_per_block": 1,
    "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2,
}  # fmt: skip
TEMPLATE = {"user": {}, "assistant": {}}
TURNS, SAID, HEARD = 8, 16, 64


def tokenizer() -> PreTrainedTokenizerFast:
    """Words w0, w1, ... as ids 0, 1, ...: what is said is read again as the same ids."""
    core = Tokenizer(models.WordLevel({f"w{index}": index for index in range(WORDS)}, unk_token="w0"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core)


def body(more: int = 0) -> LlamaForCausalLM:
    """The reference's LLM, with `more` ids of its own."""
    torch.manual_seed(13)
    sizes = {name: value for name, value in LLAMA.items() if name != "model_type"}
    return LlamaForCausalLM(LlamaConfig(**{**sizes, "vocab_size": WORDS + more, "eos_token_id": None})).eval()


class Forced:
    """A speaker that says given ids, whatever it would choose."""

    def __init__(self, llm: LLM, ids: Sequence[int]) -> None:
        self.llm, self.ids, self.tokenizer, self.groups = llm, ids, llm.tokenizer, llm.groups
        self.place = 0

    def prefill(self, *given: Any) -> Any:
        self.place = 0
        return self.llm.prefill(*given)

    def step(self, ids: Sequence[Sequence[int]], cache: Any) -> Any:
        self.place += len(ids[0])
        return self.llm.step(ids, cache)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        scores = self.llm.logits(states)
        scores[:, self.ids[self.place]] = torch.inf
        return scores


class Forcing(LogitsProcessor):  # type: ignore[misc]
    """The same for transformers' own loop."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = ids

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores[:, self.ids[input_ids.shape[1]]] = torch.inf
        return scores


def groups(pairs: int) -> list[dict[str, Any]]:
    """A reply with a group of 24, beside the same ids one by one."""
    words = tokenizer()
    ours, plain = LLM(body(), words, tokens=TOKENS), LLM(body(sum(TOKENS.values())), words)
    reply = [*range(100, 116), *ours.groups["video"], 835]
    found = []
    for length, bar, profiled in ((64, 0.48, False), (512, 0.56, True)):  # README.md: what bounds the second
        torch.manual_seed(length)
        prompt, mask = torch.randn(1, length, 512) * 0.02, torch.ones(1, length, dtype=torch.bool)

        def run(llm: LLM, prompt: torch.Tensor = prompt, mask: torch.Tensor = mask) -> None:
            list(speak(Forced(llm, reply), prompt, mask, sampling=Sampling(len(reply)), seeds=[0]))

        def generate(prompt: torch.Tensor = prompt, mask: torch.Tensor = mask) -> None:
            with torch.inference_mode():
                plain.model.generate(
                    inputs_embeds=prompt,
                    attention_mask=mask.long(),
                    max_new_tokens=len(reply),
                    do_sample=False,
                    logits_processor=LogitsProcessorList([Forcing(reply)]),
                )

        def read(prompt: torch.Tensor = prompt, mask: torch.Tensor = mask) -> None:
            ours.prefill(prompt, mask)

        sides = interleaved(pairs, lambda: run(ours), generate, lambda: run(plain), read)
        own, (reply_, prompt_) = compared(sides[0], sides[2]), map(statistics.median, sides[2:])
        step = (reply_ - prompt_) / (len(reply) - 1)
        best = (prompt_ + 17 * step) / (prompt_ + 40 * step)
        note = (
            f"{own['ratio']} {own['quartiles']} of our own loop, id by id; reading the prompt {prompt_:.3f} s, a step "
            f"{step:.4f} s: the prompt and 17 steps are {best:.3f} of the prompt and 40"
        )
        found.append(row(f"reply with a 24-token group, prompt {length}", f"<= {bar}", sides[0], sides[1], bar, note))
        found[-1]["profile"] = profiled
    return found


def batches(pairs: int) -> list[dict[str, Any]]:
    """Text replies a second, eight rows beside one."""
    llm = LLM(body(), tokenizer(), tokens=TOKENS)
    torch.manual_seed(0)
    prompts, mask = torch.randn(8, 64, 512) * 0.02, torch.ones(8, 64, dtype=torch.bool)

    def run(rows: int) -> None:
        list(speak(llm, prompts[:rows], mask[:rows], sampling=Sampling(32), seeds=[0] * rows))

    one, eight = interleaved(pairs, lambda: run(1), lambda: run(8))
    return [row("text replies/s, batch 8 / batch 1", ">= 3", [8 * x for x in one], eight, 3, "prompt 64, 32 words")]


def turns(pairs: int) -> list[dict[str, Any]]:
    """What a late turn costs beside a first one, and the encoder's calls for a picture that was shown before."""
    torch.manual_seed(13)
    llm = LLM(body(), tokenizer())
    sizes = {name: value for name, value in TOWER.items() if name != "type"}
    encoder = resolve("encoders", "imagebind")(trunk="vision", **sizes)
    projector = resolve("input_projectors", "linear")(encoder.dim, llm.dim)
    model = AnyX(
        llm, template=TEMPLATE, encoders={"eye": encoder}, inputs={"image": InputPort("eye", projector, kind=Image)}
    )
    calls: list[int] = []
    encoder.register_forward_hook(lambda *_: calls.append(1))
    picture = Image(torch.randint(0, 256, (3, 224, 224), dtype=torch.uint8))
    late, first, whole, encoded = [], [], [], []
    for pair in range(pairs + 1):
        session, seen = model.session(max_new_tokens=SAID), []
        for number in range(TURNS):
            before = len(calls)
            asked = message(number, pair, picture if number == 0 else None)
            seen.append(timed(lambda asked=asked, session=session: session.say(asked)))
            encoded.append(len(calls) - before if number else 0)
        history = session.messages[:-1]
        if pair:  # the first warms up
            late.append(seen[-1])
            first.append(timed(lambda pair=pair: fresh(model, message(1, pair, None))))
            whole.append(timed(lambda history=history: model.chat(history, max_new_tokens=SAID)))
    without = compared(whole, first)
    whole_turn = f"turn {TURNS} of {HEARD} words and {SAID} in reply, attention to all before it included"
    note = f"{whole_turn}; read anew it is {without['ratio']} of a first turn"
    return [
        row("turn k / a first turn", "<= 1.25", late, first, 1.25, note),
        {
            "goal": "second turn's encode cost", "bar": "<= 0", "value": float(sum(encoded)), "quartiles": None,
            "pairs": pairs, "met": not sum(encoded), "note": f"encoder calls in turns 2 to {TURNS}, by a forward hook",
        },
    ]  # fmt: skip


def lora(pairs: int) -> list[dict[str, Any]]:
    """A text reply with LoRA merged, beside one with LoRA beside the weights."""
    llm = LLM(body(), tokenizer(), lora={"r": 32, "targets": ["q_proj", "k_proj", "v_proj", "o_proj"]})
    prompt, mask = torch.randn(1, 64, 512) * 0.02, torch.ones(1, 64, dtype=torch.bool)

    def run() -> None:
        list(speak(llm, prompt, mask, sampling=Sampling(32), seeds=[0]))

    sides: tuple[list[float], list[float]] = [], []
    for pair in range(pairs + 1):
        with llm.merged():
            merged = timed(run)
        apart = timed(run)
        if pair:
            sides[0].append(merged)
            sides[1].append(apart)
    return [row("LoRA merged / beside the weights", "<= 1", *sides, 1, "r 32 on q, k, v, o; prompt 64, 32 words")]


def decoders(pairs: int) -> list[dict[str, Any]]:
    """Two outputs made at once beside one after the other."""
    torch.manual_seed(13)
    llm = LLM(body(), tokenizer(), tokens={"image": 4, "sketch": 4})
    ports = {}
    for key, ids in llm.groups.items():
        decoder = resolve("decoders", "stable_diffusion")(vae=VAE, unet=UNET, length=4).eval()
        projector = resolve("output_projectors", "linear")(llm.dim, decoder.condition)
        ports[key] = OutputPort(projector, ids=ids, kind=Image, decoder=decoder)
    model = AnyX(llm, template=TEMPLATE, outputs=ports)
    asked = [Asked(key, torch.randn(4, llm.dim), 0, 0, Making(steps=4)) for key in ports]
    sides = interleaved(
        pairs, lambda: void(Studio(model, concurrent=True).make(asked)), lambda: void(Studio(model).make(asked))
    )
    return [row("two decoders at once / one after the other", "<= 1", *sides, 1, "32 x 32, 4 steps, shared threads")]


def void(_: object) -> None:
    """Nothing of a result."""


def fresh(model: AnyX, asked: Mapping[str, Any]) -> None:
    """A conversation of one turn."""
    Session(model, sampling=Sampling(SAID)).say(asked)


def message(number: int, pair: int, picture: Image | None) -> dict[str, Any]:
    """A user's turn of words that differ from turn to turn."""
    words = " ".join(f"w{(number * 977 + pair * 131 + place * 7) % WORDS}" for place in range(HEARD))
    shown = [] if picture is None else [{"type": "image", "media": picture}]
    return {"role": "user", "content": [*shown, {"type": "text", "text": f"{words} "}]}


def timed(run: Callable[[], Any]) -> float:
    """Seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def interleaved(pairs: int, *sides: Callable[[], None]) -> list[list[float]]:
    """Seconds of each side, one after the other, after a round that warms up."""
    rounds = [[timed(side) for side in sides] for _ in range(pairs + 1)][1:]
    return [list(column) for column in zip(*rounds, strict=True)]


def row(
    goal: str, bar: str, first: Sequence[float], second: Sequence[float], limit: float, note: str
) -> dict[str, Any]:
    """A figure as the benchmarks' common runner reads it."""
    found = compared(first, second)
    met = found["ratio"] <= limit if bar.startswith("<=") else found["ratio"] >= limit
    middle = f"{statistics.median(first):.3f} s / {statistics.median(second):.3f} s"
    return {
        "goal": goal, "bar": bar, "value": found["ratio"], "quartiles": found["quartiles"], "pairs": found["pairs"],
        "met": met, "note": f"{note}; {middle}",
    }  # fmt: skip


def figures(quick: bool) -> list[dict[str, Any]]:
    """Every goal of generation with its figure."""
    pairs = 3 if quick else 9
    return [*groups(pairs), *batches(pairs), *turns(pairs), *lora(pairs), *decoders(pairs)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    print(json.dumps(figures(given.quick), indent=1))


if __name__ == "__main__":
    main()
