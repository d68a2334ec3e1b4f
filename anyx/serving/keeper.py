"""The process that decodes what strangers send: it keeps the libraries loaded and forks one child after another.

`python -m anyx.serving.keeper FD` listens on a socket for connections to serve (`crew.py` sends them); a child serves
each. Before it reads anything, a child gives up what decoding does not need: files and sockets to open, files to
write, memory beyond an allowance. Each decode has a time, on the clock and of the CPU, after which the kernel ends it.
A child that dies is replaced in milliseconds, since nothing has to be imported again.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import torch

from anyx.faults import Limits, MediaError, OversizedError, within
from anyx.media import Audio, Image, Series, Video
from anyx.serving.passing import name_of, pack, raw, receive, send

READS = 256  # after so many a child is replaced: what libraries leak is gone with it
MEMORY = ("can't allocate memory", "Cannot allocate memory", "Unable to allocate")  # what libraries say of it


def main() -> None:
    """Fork a child for every connection that is sent, until the one who sends has ended."""
    sender = socket.socket(fileno=int(sys.argv[1]))
    torch.set_num_threads(1)
    warm_up()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for children
    while True:
        data, descriptors, _, _ = socket.recv_fds(sender, 2**16, 1)
        if not data:
            return
        order = json.loads(data)
        for name in order["modules"]:
            importlib.import_module(name)
        connection = socket.socket(fileno=descriptors[0])
        if os.fork() == 0:
            sender.close()
            try:
                serve(connection, order["allowance"])
            finally:
                os._exit(0)
        connection.close()


def warm_up() -> None:
    """Read a little of everything, so that whatever libraries load late is loaded before files are out of reach."""
    still, tone = Image(torch.zeros(3, 16, 16, dtype=torch.uint8)), Audio(torch.zeros(1, 4800), 48000)
    film = Video(still.pixels[None].repeat(4, 1, 1, 1), 4.0, tone)
    for form in ("png", "jpg", "webp", "tiff"):
        Image.read(still.to_bytes(form))
    for form in ("wav", "flac", "ogg"):
        Audio.read(tone.to_bytes(form))
    for form in ("mp4", "webm", "gif", "apng"):
        Video.read(film.to_bytes(form))
    for form in ("npz", "npy", "csv"):
        Series.read(Series(tone.samples, 8.0).to_bytes(form))
    for kind in (Image, Audio, Video, Series):  # also what is imported to say that something is wrong
        try:
            kind.read(b"\x89PNG\r\n\x1a\nRIFF")
        except MediaError:
            continue


def serve(connection: socket.socket, allowance: int) -> None:
    """Decode what comes over a connection; an answer is a medium or a refusal."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    confine(connection.fileno(), allowance)
    kinds = {name_of(kind): kind for kind in (Image, Audio, Video, Series)}
    send(connection, {}, [])  # ready
    for left in reversed(range(READS)):
        try:
            order, (data,) = receive(connection, allowance)
        except EOFError:
            return
        if order["kind"] not in kinds:
            module, _, name = order["kind"].partition(":")
            if module not in sys.modules:  # it was learnt of after this child was forked
                send(connection, {"unknown": order["kind"], "last": True}, [])
                return
            kinds[order["kind"]] = vars(sys.modules[module])[name]
        header, tensors = decode(kinds[order["kind"]], data.numpy().tobytes(), order)
        last = not left or "memory" in header
        send(connection, {**header, "last": last}, tensors)
        if last:
            return


def decode(kind: Any, data: bytes, order: dict[str, Any]) -> tuple[dict[str, Any], list[memoryview]]:
    """A header and the tensors of what a file holds, within the time and the limits of an order."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(usage.ru_utime + usage.ru_stime + order["timeout"]) + 2, hard))
    signal.setitimer(signal.ITIMER_REAL, order["timeout"])  # SIGALRM ends the process, whatever runs in it
    try:
        tensors: list[torch.Tensor] = []
        with within(Limits(**order["limits"])):
            tree = pack(kind.read(data), tensors)
        return {"tree": tree}, [raw(tensor) for tensor in tensors]
    except OversizedError as error:
        return {"refused": str(error)[:2000], "status": 413}, []
    except MemoryError:
        return {"refused": "it takes more memory to decode than is allowed", "status": 413, "memory": True}, []
    except Exception as error:  # MediaError, and what libraries raise where nobody expects it
        if any(words in str(error) for words in MEMORY):
            return {"refused": "it takes more memory to decode than is allowed", "status": 413, "memory": True}, []
        return {"refused": str(error)[:2000], "status": 400}, []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def confine(descriptor: int, allowance: int) -> None:
    """Keep one connection and nothing else: no file or socket can be opened, none written, little memory taken."""
    statistics = Path("/proc/self/statm")
    baseline = int(statistics.read_text().split()[0]) * resource.getpagesize() if statistics.exists() else None
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, 4096)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if baseline is not None:
        resource.setrlimit(resource.RLIMIT_AS, (baseline + allowance, baseline + allowance))


if __name__ == "__main__":
    main()
