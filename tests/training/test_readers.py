"""Cached features are known by everything their component was built with: its settings as well as its weights."""

from pathlib import Path
from typing import Any

import components
import tiny

from anyx import config as configs
from anyx.data.cache import FeatureCache
from anyx.data.dialogues import DialogueReader
from anyx.schema import Stage
from anyx.training.plan import settings_of
from anyx.training.readers import make_reader
from anyx.training.trainee import Trainee


def settings(**more: Any) -> dict[str, str]:
    eye = {"type": "imagebind", **components.TINY["encoders"]["imagebind"][0], **more}
    decoder = {"type": "stable_diffusion", **components.TINY["decoders"]["stable_diffusion"][0]}
    return settings_of(configs.check({"encoders": {"eye": eye}, "outputs": {"image": {"decoder": decoder}}}))


def test_settings_that_leave_no_weights_make_another_key(tmp_path: Path) -> None:
    assert list(settings()) == ["encoders.eye", "outputs.image.decoder"]
    stage = Stage("s", train={"inputs.*.projector": 1e-3}, losses={"text": 1}, data={"d": 1}, steps=1)
    trainee, keys = Trainee(tiny.anyx(), stage, 1), []
    for given in (settings(), settings(), settings(output="patches")):
        reader = make_reader(trainee, [], FeatureCache(tmp_path), given)
        assert isinstance(reader, DialogueReader)
        keys.append(reader.encoders["image"])
    assert keys[0] == keys[1] != keys[2]
