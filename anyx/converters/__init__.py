"""Published checkpoints <-> model folders of ours, one file a system; `systems.py` says how to add one."""

from collections.abc import Mapping

SYSTEMS: Mapping[str, str] = {
    "nextgpt": "anyx.converters.nextgpt:NextGPT",
    "pandagpt": "anyx.converters.pandagpt:PandaGPT",
    "llava": "anyx.converters.llava:LLaVA",
}
