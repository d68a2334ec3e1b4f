"""What MkDocs does beside writing pages: pages that are made of the code, and pictures that lie elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

import reference

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PICTURES = ("shape.svg", "contact_sheet.webp")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made from signatures, and the pictures of the README."""
    from mkdocs.structure.files import File

    for path, text in reference.pages().items():
        files.append(File.generated(config, path, content=text))
    for name in PICTURES:
        source = reference.ROOT / "experiments/emoji/assets" / name
        files.append(File.generated(config, f"assets/{name}", abs_src_path=str(source)))
    return files
