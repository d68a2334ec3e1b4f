"""The model card: front matter for the Hub, what a model is made of, under which licences, how good it is.

The licence of a part is what is found first of these: what the YAML says of it (`card.licences`, by its path); the
`license` of the front matter of a README beside its weights, or the name in a LICENSE file there; what is known of its
Hub id; "not stated". The model's own is `card.licence`, or the one that all its parts share, or else `other`, which
stands for all of them. Nothing here judges whether licences go together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import eval_results_to_model_index
from torch import Tensor

from anyx.config import Config
from anyx.packaged import PACKAGED

UNKNOWN = "not stated"
SHARED = "the-licences-of-its-parts"
NAMES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
TEXTS = {  # what stands near the head of a licence's text -> its name on the Hub
    "apache license": "apache-2.0",
    "mit license": "mit",
    "permission is hereby granted, free of charge": "mit",
    "bsd 3-clause": "bsd-3-clause",
    "neither the name of": "bsd-3-clause",
    "bsd 2-clause": "bsd-2-clause",
    "gnu affero general public license": "agpl-3.0",
    "gnu lesser general public license": "lgpl-3.0",
    "gnu general public license": "gpl-3.0",
    "attribution-noncommercial-sharealike 4.0": "cc-by-nc-sa-4.0",
    "attribution-noncommercial 4.0": "cc-by-nc-4.0",
    "attribution-sharealike 4.0": "cc-by-sa-4.0",
    "attribution 4.0 international": "cc-by-4.0",
    "cc0 1.0 universal": "cc0-1.0",
    "creativeml open rail": "creativeml-openrail-m",
    "llama 2 community license": "llama2",
    "llama 3": "llama3",
    "gemma terms of use": "gemma",
}
KNOWN = {  # the last part of a path or Hub id, in small letters and from its beginning -> licence, as its owner says
    "imagebind": "cc-by-nc-4.0",
    "vicuna-7b-v0": "other (LMSYS, on LLaMA: non-commercial)",
    "vicuna-7b-v1": "llama2",
    "vicuna-13b-v1": "llama2",
    "llama-2": "llama2",
    "stable-diffusion-v1-5": "creativeml-openrail-m",
    "zeroscope": "cc-by-nc-4.0",
    "audioldm": "cc-by-nc-sa-4.0",
    "smollm": "apache-2.0",
    "mistral-7b": "apache-2.0",
    "whisper": "apache-2.0",
    "clip-vit": "mit",
}


def card(
    config: Config,
    state: Mapping[str, Tensor],
    *,
    results: Mapping[str, Any] | None = None,
    name: str = "path/to/this/folder",
) -> str:
    """The card of a model of these own weights; `results` is `matrix.json` of `anyx evaluate`, `name` what loads it."""
    licences = licences_of(config)
    ports = {"reads": ["text", *config.inputs], "answers with": ["text", *config.outputs]}
    count = sum(tensor.numel() for tensor in state.values())
    lines = ["---", front(config, licences, results, name), "---", "", f"# {title(name)}", ""]
    lines += [f"It {verb} {', '.join(keys)}." for verb, keys in ports.items()]
    lines += [f"Its own weights, {count / 1e6:.2f} M parameters, are here; the rest is named in `config.yaml`.", ""]
    lines += ["```python", "from anyx import AnyX", "", f'model = AnyX.from_pretrained("{name}")']
    said = next(iter(examples(config)), "Hello.")
    lines += [f'reply = model.chat([{{"role": "user", "content": {json.dumps(said, ensure_ascii=False)}}}])', "```", ""]
    lines += ["## Licences", "", "| part | what | licence |", "|---|---|---|"]
    lines += [f"| `{part}` | {what} | {licence} |" for part, (what, licence) in licences.items()]
    lines += ["", "The licence of a part covers what is made from it; read them before you share or sell anything.", ""]
    if results is not None:
        lines += ["## Evaluation", "", "Top-1 in percent of what `anyx evaluate` asked, with 95% intervals.", ""]
        lines += ["| split | route | top-1 | requests |", "|---|---|---|---|", *map(row, figures(results)), ""]
    if notes := config.card.get("notes"):
        lines += [str(notes).strip(), ""]
    return "\n".join(lines)


def front(config: Config, licences: Mapping[str, tuple[str, str]], results: Mapping[str, Any] | None, name: str) -> str:
    """The front matter as YAML, without its fences."""
    said = config.card
    made: dict[str, Any] = {"library_name": "anyx", "pipeline_tag": "any-to-any"}
    found = {licence for _, licence in licences.values()}
    own = said.get("licence") or (found.pop() if len(found) == 1 else "other" if found else None)
    own = "other" if own is not None and " " in own and own != UNKNOWN else own  # the Hub takes names alone
    if own not in (None, UNKNOWN):
        made["license"] = own
    if own == "other":
        made |= {"license_name": SHARED, "license_link": "README.md"}
    if bases := sorted(set(ids(config.raw))):
        made["base_model"] = bases
    kinds = sorted({*config.inputs, *config.outputs})
    made["tags"] = list(dict.fromkeys(["anyx", "any-to-any", "multimodal", *kinds, *said.get("tags", ())]))
    if language := said.get("language"):
        made["language"] = language
    if shown := examples(config):
        made["widget"] = [{"text": text} for text in shown]
    if results is not None:
        made["model-index"] = eval_results_to_model_index(
            title(name), [result(split, route, cell) for split, route, cell in figures(results)]
        )
    return str(yaml.dump(made, Dumper=Indented, sort_keys=False, allow_unicode=True)).rstrip()


class Indented(yaml.SafeDumper):  # type: ignore[misc]
    """YAML whose lists stand in from their key, as the Hub's own cards have them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Always in."""
        super().increase_indent(flow, False)


def title(name: str) -> str:
    """What the model is called: the repository's name, or what it is."""
    place = name.rpartition("/")[2]
    return "An any-to-any model" if place in ("", "folder") else place


def examples(config: Config) -> list[str]:
    """What the card asks the model for: the YAML's examples, or one for each output."""
    return list(config.card.get("examples") or (f"Make one {key} of a cow." for key in config.outputs))


def licences_of(config: Config) -> dict[str, tuple[str, str]]:
    """Part -> (what it is, its licence): the LLM, encoders and decoders with weights of others, data that has a say."""
    given = dict(config.card.get("licences") or {})
    named = dict(sources(config.raw))
    found = {part: (shown(path), given.pop(part, None) or licence_of(path)) for part, path in named.items()}
    return found | {part: ("", licence) for part, licence in given.items()}


def sources(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The parts that are read from a path or Hub id, by their paths in the YAML."""
    nodes = {"llm": raw.get("llm") or {}}
    nodes |= {f"encoders.{name}": node or {} for name, node in (raw.get("encoders") or {}).items()}
    for key, port in (raw.get("outputs") or {}).items():
        nodes[f"outputs.{key}.decoder"] = (port or {}).get("decoder") or {}
    for part, node in nodes.items():
        if isinstance(node.get("path"), str):
            yield part, node["path"]
        for name, within in node.items():  # a component of components
            if isinstance(within, Mapping) and "type" in within and isinstance(within.get("path"), str):
                yield f"{part}.{name}", within["path"]


def licence_of(path: str) -> str:
    """What a folder, a file's folder or a Hub id says of its licence."""
    place = Path(path)
    if place.exists():
        return licence_in(place if place.is_dir() else place.parent) or UNKNOWN
    if path in PACKAGED:
        return PACKAGED[path].licence.lower()
    last = path.rpartition("/")[2].lower()
    return next((licence for name, licence in KNOWN.items() if last.startswith(name)), UNKNOWN)


def licence_in(folder: Path) -> str | None:
    """The licence that a folder's README or LICENSE states, if one does."""
    readme = folder / "README.md"
    head = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else ""
    if head.startswith("---\n"):
        try:
            said = yaml.safe_load(head[4:].partition("\n---")[0])
        except yaml.YAMLError:
            said = None
        if isinstance(said, Mapping) and isinstance(said.get("license"), str):
            return str(
                said.get("license_name") if said["license"] == "other" and "license_name" in said else said["license"]
            )
    for file in (folder / name for name in NAMES):
        if file.is_file():
            text = " ".join(file.read_text(encoding="utf-8", errors="replace")[:3000].lower().split())
            return next((name for words, name in TEXTS.items() if words in text), f"see {file.name}")
    return None


def ids(raw: Mapping[str, Any]) -> Iterator[str]:
    """The Hub ids among the paths of components."""
    for _, path in sources(raw):
        if path.count("/") == 1 and not path.startswith(".") and not Path(path).exists():
            yield path


def shown(path: str) -> str:
    """A path as a card says it: an id whole, of a place on somebody's machine the last part alone."""
    return (
        f"`{path}`"
        if path in PACKAGED or not (path.startswith((".", "/")) or Path(path).exists())
        else f"`{Path(path).name}`"
    )


def figures(results: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(split, route, figures) of every cell of a `matrix.json`; `ValueError` where it is none."""
    splits = {name: cells for name, cells in results.items() if isinstance(cells, Mapping)}
    found = [
        (split, route, cell)
        for split, cells in splits.items()
        for route, cell in cells.items()
        if isinstance(cell, Mapping) and {"top1", "ci95", "n"} <= cell.keys()
    ]
    if not found:
        raise ValueError(
            "results: no cell with top1, ci95 and n is there; give the matrix.json that `anyx evaluate` writes"
        )
    yield from found


def result(split: str, route: str, cell: Mapping[str, Any]) -> EvalResult:
    """One cell as the Hub lists it."""
    return EvalResult(
        task_type="any-to-any",
        task_name=route,
        dataset_type="anyx-evaluate",
        dataset_name=f"{split} {route}",
        dataset_split=split,
        metric_type="accuracy",
        metric_name="top-1",
        metric_value=cell["top1"],
    )


def row(figure: tuple[str, str, Mapping[str, Any]]) -> str:
    """One cell as a line of the table."""
    split, route, cell = figure
    low, high = (f"{100 * edge:.0f}" for edge in cell["ci95"])
    return f"| {split} | {route} | {100 * cell['top1']:.0f} ({low}-{high}) | {cell['n']} |"
