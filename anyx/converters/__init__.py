"""Published checkpoints <-> model folders of ours, one file a system; `systems.py` says how to add one."""

from collections.abc import Mapping

SYSTEMS: Mapping[str, str] = {
    "nextgpt": "anyx.converters.nextgpt:NextGPT",
    "minigpt4": "anyx.converters.minigpt:MiniGPT4",
    "minigpt4_llama2": "anyx.converters.minigpt:MiniGPT4Llama2",
    "minigpt_v2": "anyx.converters.minigpt:MiniGPTv2",
    "pandagpt": "anyx.converters.pandagpt:PandaGPT",
    "llava": "anyx.converters.llava:LLaVA",
    "blip2": "anyx.converters.blip2:BLIP2",
    "instructblip": "anyx.converters.blip2:InstructBLIP",
    "xinstructblip": "anyx.converters.blip2:XInstructBLIP",
    "qwen_vl": "anyx.converters.qwen_vl:QwenVL",
    "cogvlm": "anyx.converters.cogvlm:CogVLM",
    "mplug_owl": "anyx.converters.mplug_owl:MPLUGOwl",
    "mplug_owl2": "anyx.converters.mplug_owl:MPLUGOwl2",
    "llama_adapter_v2": "anyx.converters.llama_adapter:LlamaAdapterV2",
    "imagebind_llm": "anyx.converters.llama_adapter:ImageBindLLM",
    "lamm": "anyx.converters.lamm:LAMM",
    "openflamingo": "anyx.converters.flamingo:OpenFlamingo",
}
