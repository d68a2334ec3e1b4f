"""Published checkpoints <-> model folders of ours, one file a system; `systems.py` says how to add one."""

from collections.abc import Mapping

SYSTEMS: Mapping[str, str] = {
    "nextgpt": "anyx.converters.nextgpt:NextGPT",
    "minigpt4": "anyx.converters.minigpt:MiniGPT4",
    "minigpt4_llama2": "anyx.converters.minigpt:MiniGPT4Llama2",
    "minigpt_v2": "anyx.converters.minigpt:MiniGPTv2",
    "pandagpt": "anyx.converters.pandagpt:PandaGPT",
    "llava": "anyx.converters.llava:LLaVA",
    "llama_adapter_v2": "anyx.converters.llama_adapter:LlamaAdapterV2",
    "imagebind_llm": "anyx.converters.llama_adapter:ImageBindLLM",
    "lamm": "anyx.converters.lamm:LAMM",
    "openflamingo": "anyx.converters.flamingo:OpenFlamingo",
}
