"""Tiny arguments for every registered component: what the contract tests build. Several entries: several variants.

A component of the registry that is missing here fails `test_contracts.py`.
"""

from typing import Any

BLOCKS = {"block_out_channels": [8, 8], "norm_num_groups": 4, "layers_per_block": 1}
VAE = BLOCKS | {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
UNET = BLOCKS | {"attention_head_dim": 4, "sample_size": 8}
UNET_2D = UNET | {
    "cross_attention_dim": 12,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}
UNET_SOUND = UNET | {
    "class_embed_type": "simple_projection",
    "class_embeddings_concat": True,
    "projection_class_embeddings_input_dim": 6,
    "cross_attention_dim": [8, 8],
    "sample_size": [16, 4],
    "down_block_types": ["DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D"],
}
UNET_TWO = UNET_2D | {"cross_attention_dim": [[None, 12, 16]] * 2, "sample_size": 16}
UNET_XL = UNET_2D | {
    "cross_attention_dim": 20,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 6 * 4 + 12,
}
TRANSFORMER_3 = {
    "sample_size": 8,
    "patch_size": 2,
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 2,
    "attention_head_dim": 4,
    "num_attention_heads": 2,
    "caption_projection_dim": 8,
    "joint_attention_dim": 24,
    "pooled_projection_dim": 12,
    "pos_embed_max_size": 16,
}
CLIP_TEXT = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
T5_TEXT = {"d_model": 24, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
WORDS = {"words": ["cow", "red"], "length": 5}
UNET_3D = UNET | {
    "cross_attention_dim": 12,
    "down_block_types": ["CrossAttnDownBlock3D", "DownBlock3D"],
    "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D"],
}
OOBLECK = {
    "encoder_hidden_size": 8,
    "downsampling_ratios": [2, 4],
    "channel_multiples": [1, 1],
    "decoder_channels": 8,
    "decoder_input_channels": 4,
    "sampling_rate": 400,
}
DIT_SOUND = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "num_key_value_attention_heads": 2,
    "cross_attention_dim": 16,
    "cross_attention_input_dim": 16,
    "global_states_input_dim": 32,
    "time_proj_dim": 8,
}
PROJECTION = {"text_encoder_dim": 12, "conditioning_dim": 16, "min_value": 0, "max_value": 32}
VAE_LTX = {
    "latent_channels": 8,
    "block_out_channels": [8, 8, 8, 8],
    "decoder_block_out_channels": [8, 8, 8, 8],
    "layers_per_block": [1, 1, 1, 1, 1],
    "decoder_layers_per_block": [1, 1, 1, 1, 1],
}
DIT_VIDEO = {
    "in_channels": 8,
    "out_channels": 8,
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "cross_attention_dim": 16,
    "num_layers": 1,
    "caption_channels": 12,
}
TRUNK = {"dim": 16, "depth": 2, "heads": 2, "out_dim": 12}
VISION = TRUNK | {"trunk": "vision", "image_size": 16, "frames": 2, "kernel": [2, 8, 8]}
CLIP = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
    "projection_dim": 12,
}
EVA = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
    "initializer_range": 0.02,
}
VIT = {"width": 16, "layers": 2, "heads": 2, "hidden": 24, "patch": 8, "size": 16}
QFORMER = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 9}
WHISPER = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "num_mel_bins": 8,
    "max_source_positions": 20,
    "max_target_positions": 8,
    "vocab_size": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
BEATS = {"width": 16, "layers": 1, "heads": 2, "hidden": 24, "embed": 6, "mels": 32, "kernel": 4, "groups": 2}
BEATS |= {"buckets": 16, "distance": 20, "seconds": 0.5}
HEARD = {"config": WHISPER, "seconds": 0.2, "tokens": 3}
TINY: dict[str, dict[str, list[dict[str, Any]]]] = {
    "encoders": {
        "imagebind": [
            VISION,
            VISION | {"output": "patches"},
            TRUNK | {"trunk": "audio", "mels": 16, "length": 24, "kernel": 8, "stride": 8, "clips": 1},
            TRUNK | {"trunk": "depth", "image_size": 16, "kernel": 8},
            TRUNK | {"trunk": "thermal", "image_size": 16, "kernel": 8, "output": "patches"},
            TRUNK | {"trunk": "imu", "length": 32},
        ],
        "clip": [
            {"config": CLIP},
            {"config": CLIP, "output": "global"},
            {"config": CLIP | {"projection_dim": 12}, "project": True},
            {"config": CLIP, "grids": [[32, 16], [16, 32]], "fit": "pad", "join": "frames"},
        ],
        "blip2": [{"config": EVA, "qformer": QFORMER, "queries": 3}],
        "eva_clip": [
            {"config": EVA},
            {"config": EVA, "post_ln": "identity", "keep_cls": False, "blocks": 1, "size": 32},
        ],
        "beats": [BEATS, BEATS | {"gate": "states", "residual": 1.0, "clips": 2}],
        "eva_video": [{"config": EVA, "depth": 1, "frames": 2}],
        "efficientnet": [{"size": 32}, {"size": 32, "output": "patches"}, {"size": 32, "output": "pyramid"}],
        "points": [
            {"width": 16, "layers": 1, "heads": 2, "tokens": 4, "points": 12, "channels": 6, "neighbours": 3},
            {
                "width": 16,
                "layers": 1,
                "heads": 2,
                "tokens": 4,
                "points": 12,
                "channels": 6,
                "neighbours": 3,
                "tasks": 2,
            },
        ],
        "point_bert": [
            {
                "width": 16,
                "layers": 1,
                "heads": 2,
                "groups": 4,
                "neighbours": 3,
                "points": 12,
                "channels": 6,
                "inner": 8,
            }
        ],
        "vit": [
            VIT | {"class_token": False, "norm_pre": True, "table": 3},
            VIT | {"post_norm": True, "layer": -2, "activation": "quick_gelu"},
            VIT | {"joint": 2, "frames": 2, "norm_post": True, "keep_class": True},
        ],
        "whisper": [{"config": WHISPER}, HEARD],
        "film": [{"frames": {"type": "vit", **VIT, "frames": 2}, "sound": {"type": "whisper", **HEARD}}],
    },
    "input_projectors": {
        "linear": [{}, {"tokens": 2, "norm": True}],
        "mlp": [{"hidden": 8}, {"residual": 1}],
        "anyres": [{}, {"whole": False, "limit": 1, "frame_ends": "one_token"}],
        "glu": [{"hidden": 8}, {"hidden": 8, "ends": False}],
        "lexicon": [
            {"kernel": 2, "stride": 1, "heads": 2},
            {"kernel": 2, "stride": 2, "heads": 2, "hidden": 6, "mix": 2},
        ],
        "stack": [{"k": 2}],
        "resampler": [
            {"tokens": 3, "depth": 1, "heads": 2, "hidden": 8},
            {"preset": "flamingo", "tokens": 3, "depth": 1, "heads": 2, "head_dim": 4, "frames": 1},
            {"preset": "qwen", "tokens": 4, "heads": 2, "hidden": 8},
            {"preset": "owl", "tokens": 3, "depth": 1, "heads": 2, "feed": 12},
            {"preset": "owl2", "tokens": 3, "depth": 1, "heads": 2, "feed": 12},
            {"preset": "kosmos2", "tokens": 3, "heads": 2},
            {"preset": "octavius", "tokens": 3, "hidden": 8, "heads": 2, "head_dim": 4},
        ],
        "grouping": [{"groups": [3, 2], "depths": [1, 1, 1], "heads": 2, "hidden": 8, "gumbel": False}],
        "query_blocks": [{"tokens": 3, "depth": 1, "heads": 2, "hidden": 8}],
        "bridge": [{"depth": 1, "mlp_ratio": 2}],
        "cformer": [
            {"hidden": 8, "layers": 1, "heads": 2, "positions": 300, "relu": False, "dropout": 0.0},
            {"adapter": "fc", "weights": "dense", "tokens_dim": 6, "norm": "data"},
        ],
        "qformer": [
            {"queries": 3, "width": 8, "layers": 2, "heads": 2, "norm": True, "dropout": 0.0},
            {"queries": 2, "width": 8, "layers": 1, "heads": 2, "extra": 1, "dropout": 0.0},
        ],
    },
    "output_projectors": {
        "transformer": [{"hidden": 8, "layers": 1, "heads": 2}],
        "qformer": [{"hidden": 8, "layers": 2, "heads": 2, "cross_every": 2}, {"hidden": None, "heads": 2}],
        "connector": [{"layers": 2, "heads": 5}],
        "linear": [{}],
        "mlp": [{"hidden": 8}],
    },
    "adapters": {
        "gated_cross_attention": [{"every": 2, "dim": 10, "heads": 2, "head_dim": 4}],
        "routed": [{"modules": ["q_proj", "input_layernorm"], "end": 1}],
        "zero_init_prompts": [{"layers": 1, "tokens": 3, "scaled": True}],
        "lora_experts": [{"modules": ["q_proj"], "r": 2, "experts": 3}],
        "tuned": [{"biases": ["q_proj"]}],
        "shared_positions": [{"begin": 1, "end": 1}],
    },
    "decoders": {
        "stable_diffusion": [{"vae": VAE, "unet": UNET_2D, "length": 5, "steps": 2}],
        "stable_diffusion_xl": [
            {"vae": VAE, "unet": UNET_XL, "length": 5, "steps": 2},
            {
                "vae": VAE,
                "unet": UNET_XL,
                "steps": 2,
                "tokenizer": WORDS,
                "text": {
                    "text_encoder": CLIP_TEXT | {"hidden_size": 8},
                    "text_encoder_2": CLIP_TEXT | {"hidden_size": 12, "projection_dim": 12},
                },
            },
        ],
        "stable_diffusion_3": [
            {
                "vae": VAE | {"shift_factor": 0.06},
                "transformer": TRANSFORMER_3,
                "length": 5,
                "t5_length": 3,
                "steps": 2,
            },
            {
                "vae": VAE,
                "transformer": TRANSFORMER_3,
                "steps": 2,
                "t5_length": 4,
                "tokenizer": WORDS,
                "text": {
                    "text_encoder": CLIP_TEXT | {"hidden_size": 8, "projection_dim": 4},
                    "text_encoder_2": CLIP_TEXT | {"hidden_size": 12, "projection_dim": 8},
                    "text_encoder_3": T5_TEXT,
                },
            },
        ],
        "audioldm": [{"vae": VAE | {"in_channels": 1, "out_channels": 1}, "unet": UNET_SOUND, "steps": 2}],
        "audioldm2": [
            {
                "vae": VAE | {"in_channels": 1, "out_channels": 1},
                "unet": UNET_TWO,
                "vocoder": {"bins": 8, "fft": 256, "iterations": 4},
                "length": 5,
                "vectors": 3,
                "steps": 2,
            }
        ],
        "stable_audio": [{"vae": OOBLECK, "transformer": DIT_SOUND, "projection": PROJECTION, "length": 5, "steps": 2}],
        "ltx": [{"vae": VAE_LTX, "transformer": DIT_VIDEO, "length": 5, "size": 32, "frames": 9, "steps": 2}],
        "video": [{"vae": VAE, "unet": UNET_3D, "length": 5, "frames": 4, "steps": 2}],
        "animatediff": [
            {
                "vae": VAE,
                "unet": UNET_2D,
                "motion_adapter": {"motion_num_attention_heads": 2},
                "length": 5,
                "frames": 4,
                "steps": 2,
            }
        ],
    },
}
