"""Names that a YAML may give to a component's `type`, resolved only when asked for.

The tables hold strings, so that nothing is imported for components that are not used. To add a component, write one
file and one line here; the contract tests then find it. Outside packages add theirs by entry points of the groups
`anyx.encoders`, `anyx.decoders`, `anyx.input_projectors`, `anyx.output_projectors`, `anyx.adapters` and `anyx.media`,
or a YAML names a class directly as `my_package.my_module:MyClass`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

ENCODERS = {
    "imagebind": "anyx.encoders.imagebind:ImageBindEncoder",
    "clip": "anyx.encoders.clip:ClipEncoder",
    "blip2": "anyx.encoders.blip2:Blip2Encoder",
    "eva_clip": "anyx.encoders.eva_clip:EvaClipEncoder",
    "beats": "anyx.encoders.beats:BeatsEncoder",
    "eva_video": "anyx.encoders.eva_video:EvaVideoEncoder",
    "efficientnet": "anyx.encoders.efficientnet:EfficientNetEncoder",
    "points": "anyx.encoders.points:PointCloudEncoder",
    "point_bert": "anyx.encoders.point_bert:PointBertEncoder",
    "vit": "anyx.encoders.vit:ViTEncoder",
    "whisper": "anyx.encoders.whisper:WhisperEncoder",
    "film": "anyx.encoders.film:FilmEncoder",
}
DECODERS = {
    "stable_diffusion": "anyx.decoders.stable_diffusion:StableDiffusionDecoder",
    "stable_diffusion_xl": "anyx.decoders.stable_diffusion_xl:StableDiffusionXLDecoder",
    "stable_diffusion_3": "anyx.decoders.stable_diffusion_3:StableDiffusion3Decoder",
    "audioldm": "anyx.decoders.audioldm:AudioLDMDecoder",
    "video": "anyx.decoders.video:VideoDecoder",
    "audioldm2": "anyx.decoders.audioldm2:AudioLDM2Decoder",
    "stable_audio": "anyx.decoders.stable_audio:StableAudioDecoder",
    "ltx": "anyx.decoders.ltx:LTXDecoder",
    "animatediff": "anyx.decoders.video:VideoDecoder",  # the same class: a motion adapter makes it move
}
INPUT_PROJECTORS = {
    "linear": "anyx.input_projectors:LinearInputProjector",
    "mlp": "anyx.input_projectors:MLPInputProjector",
    "stack": "anyx.input_projectors:StackInputProjector",
    "resampler": "anyx.resampling:ResamplerInputProjector",
    "grouping": "anyx.grouping:GroupingInputProjector",
    "query_blocks": "anyx.bridges:QueryBlocksInputProjector",
    "bridge": "anyx.bridges:BridgeInputProjector",
    "glu": "anyx.glu:GluInputProjector",
    "lexicon": "anyx.lexicon:LexiconInputProjector",
    "cformer": "anyx.cformer:CFormerInputProjector",
    "qformer": "anyx.queries:QFormerInputProjector",
    "anyres": "anyx.anyres:AnyResInputProjector",
}
OUTPUT_PROJECTORS = {
    "transformer": "anyx.output_projectors:TransformerOutputProjector",
    "qformer": "anyx.output_projectors:QFormerOutputProjector",
    "connector": "anyx.connector:ConnectorOutputProjector",
    "linear": "anyx.output_projectors:LinearOutputProjector",
    "mlp": "anyx.output_projectors:MLPOutputProjector",
}
ADAPTERS = {
    "gated_cross_attention": "anyx.adapters.gated:GatedCrossAttention",
    "routed": "anyx.adapters.routed:Routed",
    "zero_init_prompts": "anyx.adapters.prompts:ZeroInitPrompts",
    "lora_experts": "anyx.adapters.experts:LoraExperts",
    "tuned": "anyx.adapters.tuned:Tuned",
    "shared_positions": "anyx.adapters.positions:SharedPositions",
}
MEDIA = {
    "image": "anyx.media:Image",
    "audio": "anyx.media:Audio",
    "video": "anyx.media:Video",
    "series": "anyx.media:Series",
}
TABLES: Mapping[str, Mapping[str, str]] = {
    "encoders": ENCODERS,
    "decoders": DECODERS,
    "input_projectors": INPUT_PROJECTORS,
    "output_projectors": OUTPUT_PROJECTORS,
    "adapters": ADAPTERS,
    "media": MEDIA,
}

INTERFACES = {
    "encoders": "Encoder",
    "decoders": "Decoder",
    "input_projectors": "InputProjector",
    "output_projectors": "OutputProjector",
    "adapters": "Adapter",
    "media": "Medium",
}
# Tables that belong to the rooms that use them, for the config to look into.
SOURCES = "anyx.data.sources:SOURCES"
LOSSES = "anyx.training.objectives:OBJECTIVES"
CODECS = "anyx.grounding:CODECS"  # of boxes, which an input names
REFUSAL = "anyx.training.objectives:refusal"  # why a loss is none of a model


@cache
def table(kind: str) -> Mapping[str, str]:
    """All names of a kind with their "module:Class", ours and those of installed packages."""
    if kind not in TABLES:
        raise ValueError(f"{kind!r} is not one of {', '.join(TABLES)}")
    names = dict(TABLES[kind])
    for point in entry_points(group=f"anyx.{kind}"):
        if names.setdefault(point.name, point.value) != point.value:
            raise ValueError(f"anyx.{kind}: {point.name!r} is both {names[point.name]} and {point.value}")
    return names


def resolve(kind: str, name: str) -> type:
    """The class behind a registered name or a "module:Class"; ValueError where it is none of the kind's interface."""
    names = table(kind)
    target = names.get(name, name)
    module, separator, attribute = target.partition(":")
    if not separator:
        raise ValueError(f"{name!r} is not one of {', '.join(sorted(names))}")
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("anyx"):
            raise ValueError(f"{name!r} is not installed here ({error.name} is missing): run `make setup`") from error
        raise ValueError(f"{name!r} needs the package {error.name!r}, which is not installed") from error
    try:
        cls = getattr(found, attribute)
    except AttributeError as error:
        raise ValueError(f"{name!r}: module {module} has no class {attribute!r}") from error
    wanted = vars(import_module("anyx.interfaces"))[INTERFACES[kind]]
    if not isinstance(cls, type) or not issubclass(cls, wanted):
        raise ValueError(f"{name!r}: {target} is no {wanted.__name__}")
    return cls
