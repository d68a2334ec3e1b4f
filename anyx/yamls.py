"""YAML files <-> plain mappings: bases are merged under, paths made absolute, `a.b=c` laid over the whole.

A YAML may say `base: ../other.yaml`, which is merged under it (a component of another `type` replaces the base's,
`null` drops an entry); of a list of bases each is merged over those before it. Strings that begin with `./` or `../`
are paths from the folder of the YAML that says them.

Only this file sees OmegaConf.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from anyx.migrations import upgrade


class ConfigError(ValueError):
    """Every error of a configuration, one a line; also as the list `errors`."""

    def __init__(self, errors: Sequence[str]):
        super().__init__("\n".join(errors))
        self.errors = list(errors)


def dotted(values: Sequence[str]) -> dict[str, Any]:
    """`a.b=c` as mappings, each value read as YAML. Raises `ConfigError`."""
    for value in values:
        if "=" not in value:
            raise ConfigError([f"{value}: it is written a.b=c"])
        with _named(value, "no value"):
            OmegaConf.from_dotlist([value])
    made: dict[str, Any] = _plain(OmegaConf.from_dotlist(list(values)))
    return made


def read(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A YAML as plain mappings, with its bases and `overrides`. Raises `ConfigError`.

    An override is `a.b=c`; `a.0=c` replaces an item of a list, and a key with dots stands in brackets: `a[b.*.c]=d`.
    They are laid over the YAML together, so that their order does not matter.
    """
    over = parse(overrides)
    raw: dict[str, Any] = _merge(_read(Path(path), ()), over, "")
    return raw


def parse(overrides: Sequence[str]) -> dict[str, Any]:
    """Words `a.b=c` as plain mappings; what they say is YAML. Raises `ConfigError`."""
    for override in overrides:
        if "=" not in override:
            raise ConfigError([f"{override}: an override is written a.b=c"])
        with _named(override, "no override"):
            OmegaConf.from_dotlist([override])
    return dict(_plain(OmegaConf.from_dotlist(list(overrides))))


def resolve(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping with its `${...}` filled in."""
    with _named("${...}", "cannot be filled in"):
        return dict(_plain(OmegaConf.create(dict(raw)), resolve=True))


def upgraded(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The mapping in today's form (`anyx.migrations`). Raises `ConfigError`."""
    try:
        return upgrade(raw, name=name)
    except ValueError as error:
        raise ConfigError([str(error)]) from error


def dump(raw: Mapping[str, Any]) -> str:
    """The mapping as YAML."""
    return str(OmegaConf.to_yaml(dict(raw)))


def _read(path: Path, above: Sequence[Path]) -> dict[str, Any]:
    """One file over its base; `above` are the files whose base it is."""
    if not path.is_file():
        raise ConfigError([f"{path}: no such file"])
    with _named(str(path), "no YAML"):
        raw: Any = _plain(OmegaConf.load(path))
    if not isinstance(raw, dict):
        raise ConfigError([f"{path}: a configuration is a mapping, but {type(raw).__name__} was found"])
    raw = upgraded(raw, str(path))
    base, here = raw.pop("base", None), path.resolve()
    found: dict[str, Any] = _anchor(raw, here.parent)
    bases = base if isinstance(base, list) else [] if base is None else [base]
    if not all(isinstance(one, str) for one in bases):
        raise ConfigError([f"{path}: base: must be the path of a YAML or a list of such, but {base!r} was given"])
    if bases and here in above:
        raise ConfigError([f"{path}: base: {bases[0]} leads back to where it was named"])
    under: dict[str, Any] = {}
    for one in bases:
        under = _merge(under, _read(path.parent / one, [*above, here]), "")
    return dict(_merge(under, found, "")) if bases else found


@contextmanager
def _named(what: str, kind: str) -> Iterator[None]:
    """Say in one line what could not be read; the classes of YAML's own errors belong to OmegaConf's dependency."""
    try:
        yield
    except OmegaConfBaseException as error:
        raise ConfigError([f"{what}: {str(error).splitlines()[0]}"]) from error
    except Exception as error:
        raise ConfigError([f"{what}: {kind}: {' '.join(str(error).split())}"]) from error


def _plain(config: Any, *, resolve: bool = False) -> Any:
    return OmegaConf.to_container(config, resolve=resolve)


def _anchor(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {key: _anchor(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_anchor(item, folder) for item in value]
    return str((folder / value).resolve()) if isinstance(value, str) and value.startswith(("./", "../")) else value


def _merge(under: Any, over: Any, path: str) -> Any:
    if isinstance(under, list) and isinstance(over, dict) and over and all(str(key).isdecimal() for key in over):
        return _replaced(under, over, path)
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    if "type" in over and over["type"] != under.get("type"):
        return over
    return under | {key: _merge(under.get(key), value, f"{path}.{key}".lstrip(".")) for key, value in over.items()}


def _replaced(under: list[Any], over: Mapping[Any, Any], path: str) -> list[Any]:
    """A list some of whose items are others."""
    made = list(under)
    for index, value in over.items():
        if int(index) >= len(made):
            raise ConfigError([f"{path}.{index}: the list has {len(made)} items, counted from 0"])
        made[int(index)] = _merge(made[int(index)], value, f"{path}.{index}")
    return made
