"""What a file is, by its first bytes: its name and the type that it is sent as are never believed.

A file that is two things at once (a GIF that is also a page or a zip) is read as what stands here; only the pixels and
samples of it go on.
"""

from __future__ import annotations

from collections.abc import Sequence

from anyx.media import Audio, Image, Kind, Series, Video

PICTURES = ("png", "jpeg", "gif", "webp", "tiff", "bmp", "avif")
FILMS = ("mp4", "matroska", "avi", "mpegts", "mpeg", "flv", "ogg")
SOUNDS = ("wav", "flac", "ogg", "mp3", "aac", "aiff", "caf", "mp4", "matroska", "avi", "mpegts", "mpeg", "flv")
NUMBERS = ("npy", "zip", "text")
TAKEN: dict[Kind, Sequence[str]] = {
    Image: PICTURES,
    Audio: SOUNDS,
    Video: (*FILMS, "gif", "webp", "png", "jpeg"),
    Series: NUMBERS,
}
HEADS: tuple[tuple[int, bytes, str], ...] = (  # (place, bytes there, format)
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (8, b"WEBP", "webp"),
    (8, b"WAVE", "wav"),
    (8, b"AVI ", "avi"),
    (8, b"AIFF", "aiff"),
    (8, b"AIFC", "aiff"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
    (0, b"BM", "bmp"),
    (4, b"ftypavif", "avif"),
    (4, b"ftypavis", "avif"),
    (4, b"ftyp", "mp4"),
    (4, b"moov", "mp4"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"OggS", "ogg"),
    (0, b"fLaC", "flac"),
    (0, b"ID3", "mp3"),
    (0, b"caff", "caf"),
    (0, b"FLV", "flv"),
    (0, b"\0\0\x01\xba", "mpeg"),
    (0, b"\0\0\x01\xb3", "mpeg"),
    (0, b"\x93NUMPY", "npy"),
    (0, b"PK\x03\x04", "zip"),
)
OUTER = {"webp": b"RIFF", "wav": b"RIFF", "avi": b"RIFF", "aiff": b"FORM"}  # how those at place 8 begin
FIGURES = frozenset(b'0123456789+-.,eE \t\r\n#"')
NAMES = FIGURES | frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_()/%*^[]:;'")


def sniff(data: bytes) -> str | None:
    """The format of a file: one of `TAKEN`; None for all else, such as SVG, HTML, playlists and PDF."""
    for place, mark, name in HEADS:
        if data[place : place + len(mark)] == mark and data.startswith(OUTER.get(name, b"")):
            return name
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:  # a frame of MPEG sound begins with 11 ones
        return "aac" if data[1] & 0xF6 == 0xF0 else "mp3"
    if data[:1] == b"G" and data[188:189] in (b"G", b""):
        return "mpegts"
    return "text" if _is_table(data[:4096]) else None


def _is_table(head: bytes) -> bool:
    """Whether a file begins as a CSV of numbers does: perhaps a line of names, then figures."""
    first, _, rest = head.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    second = rest.partition(b"\n")[0]
    if not first.strip() or not NAMES.issuperset(first):
        return False
    return FIGURES.issuperset(first) or (bool(second.strip()) and FIGURES.issuperset(second))
