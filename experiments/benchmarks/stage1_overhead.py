"""What a stage-1 step costs beside the bare LLM: medians of interleaved pairs in one process.

A (ours): everything of an `anyx` training step on cached features - plan, tokenise, look up, collate, project, splice,
LLM, losses, backward, clip, AdamW, Lightning's loop and our callbacks. B (bare): forward and backward of the same
transformers model on the same spliced embeddings, with labels, outside Lightning. One B follows each A, on A's batch.

    python experiments/benchmarks/stage1_overhead.py [--pairs 30] [--batch 8] [--llm FOLDER|random]
"""

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback
from ratios import compared

from anyx.data.cache import FeatureCache
from anyx.data.sources import Feed
from anyx.encoders.imagebind import ImageBindEncoder
from anyx.input_projectors import LinearInputProjector
from anyx.llm import LLM
from anyx.media import Image
from anyx.model import AnyX
from anyx.packaged import home
from anyx.ports import InputPort
from anyx.schema import Stage
from anyx.training import run
from anyx.training.report import Metrics
from anyx.training.stage import cpu_has_bf16

CAPTIONS = [
    "a red fox on the grass beside a river, looking up",
    "two children play the guitar in the street",
    "heavy rain",
]
CACHED = home() / "models"
RANDOM = "random"  # a Llama of the sizes of the reference's baseline


class Pairs(Callback):
    """Times our step from where the last bare step ended to where the next begins."""

    def __init__(self, model: AnyX, warmup: int) -> None:
        self.model, self.warmup = model, warmup
        self.ours: list[float] = []
        self.bare: list[float] = []
        self.resumed = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        ours = time.perf_counter() - self.resumed
        with torch.no_grad():
            spliced, _ = self.model.read(batch[0].batch)
        embeddings = spliced.embeddings.detach().to(self.model.llm.model.dtype).requires_grad_()
        start = time.perf_counter()
        loss = self.model.llm.model(
            inputs_embeds=embeddings, attention_mask=spliced.mask, labels=spliced.labels, use_cache=False
        ).loss
        loss.backward()
        bare = time.perf_counter() - start
        if batch_idx >= self.warmup:
            self.ours.append(ours)
            self.bare.append(bare)
        self.resumed = time.perf_counter()


def tokenizer(folder: Path) -> str:
    """A tokenizer of the captions' words, in a folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    core.train_from_iterator(CAPTIONS, trainers.BpeTrainer(special_tokens=special, initial_alphabet=alphabet))
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|im_end|>").save_pretrained(
        folder
    )
    return str(folder)


def tiny_llama(folder: Path) -> str:
    """The workload of the reference's baseline: hidden 512, 8 layers, ffn 1408, 32000 rows."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer(folder)
    sizes = {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8, "intermediate_size": 1408}
    LlamaForCausalLM(LlamaConfig(vocab_size=32000, tie_word_embeddings=False, **sizes)).save_pretrained(folder)
    return str(folder)


def build(path: str) -> AnyX:
    """A frozen LLM and encoder, one linear projector."""
    torch.manual_seed(0)
    llm = LLM.load(path, dtype="bfloat16" if cpu_has_bf16() else "float32")
    sizes = {"dim": 64, "depth": 2, "heads": 2, "out_dim": 256, "image_size": 32, "frames": 2, "kernel": [2, 8, 8]}
    encoder = ImageBindEncoder(trunk="vision", output="patches", **sizes)
    port = InputPort("vision", LinearInputProjector(encoder.dim, llm.dim), kind=Image)
    return AnyX(llm, encoders={"vision": encoder}, inputs={"image": port})


def feed(folder: Path, count: int) -> Feed:
    """Pictures on disk and their captions; so many that no record comes twice, which would be read from memory."""
    records = []
    for index in range(count):
        path = Image(torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)).save(folder / f"{index}.png")
        ask = [{"type": "image", "path": str(path)}, {"type": "text", "text": "Describe this picture."}]
        answer = " ".join(CAPTIONS[: 1 + index % 3])
        records.append(
            {"id": str(index), "messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]}
        )
    return Feed("captions", records)


def measure(path: str, pairs: int, batch: int, folder: Path) -> dict[str, Any]:
    """Run the stage and time its pairs."""
    model = build(path)
    stage = Stage(
        "encode", {"inputs.*.projector": 4e-4}, {"text": 1}, {"captions": 1}, steps=pairs + 5, batch_size=batch
    )
    timer = Pairs(model, warmup=5)
    metrics, features = Metrics(folder / "metrics.csv", ["text"]), FeatureCache(folder / "features")
    made = run.Run(folder, metrics, features, device="cpu", callbacks=[timer])
    run.fit(model, stage, [feed(folder, stage.batch_size * (pairs + 5))], [1.0], made)
    return {
        "llm": Path(path).name,
        "dtype": str(model.llm.model.dtype).removeprefix("torch."),
        "batch": batch,
        "ours / bare": compared(timer.ours, timer.bare),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--llm", help="a folder, or random; default: SmolLM2 if it is in the cache")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as name:
        cached = sorted(CACHED.glob("*SmolLM2*")) if CACHED.is_dir() else []
        wanted = given.llm or (str(cached[0]) if cached else RANDOM)
        path = tiny_llama(Path(name) / "llama") if wanted == RANDOM else wanted
        print(json.dumps(measure(path, given.pairs, given.batch, Path(name)), indent=1))


if __name__ == "__main__":
    main()
