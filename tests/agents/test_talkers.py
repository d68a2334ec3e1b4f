"""Talkers around tiny real models: they say what the models' own calls say, in pieces, and stop when told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import tiny
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from anyx.agents.llava_plus import LlavaPlus
from anyx.agents.loop import Agent
from anyx.agents.talkers import AnyXTalker, CausalTalker, HttpTalker
from anyx.agents.toolbox import Toolbox
from anyx.decoding import Sampling
from anyx.media import Image
from anyx.watching import Cancelled, Watch

ASK = [{"role": "user", "content": "Draw a red fox."}]
RED = Image(torch.full((3, 4, 4), 200, dtype=torch.uint8))


def test_a_causal_model_says_what_generate_says(tiny_llm_folder: str) -> None:
    talker = CausalTalker.load(tiny_llm_folder, max_new_tokens=12)
    pieces = list(talker.stream(ASK, Watch()))
    ids = talker.tokenizer("User: Draw a red fox.\nAssistant:", return_tensors="pt").input_ids
    theirs = talker.model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    assert "".join(map(str, pieces)) == talker.tokenizer.decode(theirs, skip_special_tokens=True).rstrip("\ufffd")
    assert len(pieces) > 1


def test_chat_templates(tiny_causal_lm: LlamaForCausalLM) -> None:
    words = tiny.tokenizer()
    talker = CausalTalker(tiny_causal_lm, words)
    words.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "<|im_start|>{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}<|im_start|>"
    )
    system = {"role": "system", "content": "Be short."}
    said = "<|im_start|>user: Be short.\n\nDraw a red fox.<|im_end|><|im_start|>"
    assert words.decode(talker.ids([system, *ASK])) == said


def test_a_conversation_that_is_too_long_stops_the_run(
    tiny_causal_lm: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    talker = CausalTalker(tiny_causal_lm, tiny_tokenizer)
    last = Agent(talker, Toolbox([]), LlavaPlus()).answer("a b " * 900).steps[-1]
    assert last.kind == "stop"
    assert "tokens; this model reads 512" in last.text


def test_a_causal_model_stops(tiny_causal_lm: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    watch = Watch()
    stream = CausalTalker(tiny_causal_lm, tiny_tokenizer).stream(ASK, watch)
    next(stream)
    watch.cancel()
    with pytest.raises(Cancelled):
        next(stream)


def test_a_model_of_ours_is_shown_pictures() -> None:
    model = tiny.anyx()
    talker = AnyXTalker(model, sampling=Sampling(max_new_tokens=8))
    assert set(talker.reads) == {"image", "audio"}
    asked = [{"role": "user", "content": [{"type": "image", "media": RED}, {"type": "text", "text": "What?"}]}]
    said = list(talker.stream(asked, Watch()))
    assert "".join(one for one in said if isinstance(one, str)) == model.chat(asked, max_new_tokens=8).text


class Handler(BaseHTTPRequestHandler):
    asked: list[Any] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        body = json.dumps({"choices": [{"message": {"content": "A fox."}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


def test_a_model_behind_http(url: str) -> None:
    Handler.asked.clear()
    trace = Agent(HttpTalker(url, "far"), Toolbox([]), LlavaPlus()).answer("What is it?", [RED])
    assert trace.value == "A fox."
    Agent(HttpTalker(url, "far", sees=True), Toolbox([]), LlavaPlus()).answer("What is it?", [RED])
    blind, seeing = (one["messages"] for one in Handler.asked)
    assert blind == [{"role": "user", "content": "<image 1>\nWhat is it?"}]
    assert seeing[0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert seeing[0]["content"][1] == {"type": "text", "text": "What is it?"}


def test_errors_speak_of_the_model(url: str) -> None:
    with pytest.raises(ValueError, match="--model-url: 'ftp://a' given"):
        HttpTalker("ftp://a", "far")
