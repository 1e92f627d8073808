"""Streams of frames into GIF and MP4 files, one frame in memory at a time."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from data_prep.store.outputs import cannot_write, check_output, written_beside

SUFFIXES = (".gif", ".mp4")
Frame = NDArray[np.uint8]
"""Picture (height, width, 3) of red, green and blue."""

_EXTENSION, _IMAGE = 0x21, 0x2C
_GIF_COLOURS = 176  # of 256 are for the colour map, the others for lines and letters
_FASTEST_GIF = 50  # frames per second; programs slow down faster ones


def check_movie(out: str | Path, fps: float) -> Path:
    """Raise an error if an animation cannot be written to a path.

    Args:
        out: Path of the output, `.gif` or `.mp4`.
        fps: Frames per second.

    Raises:
        ValueError: If the suffix or the rate is not possible, or MP4 lacks the program ffmpeg.
        OSError: See `check_output`.
    """
    path = check_output(out, SUFFIXES)
    fastest = _FASTEST_GIF if path.suffix == ".gif" else 120
    if not 0.1 <= fps <= fastest:
        raise ValueError(f"{fps:g} frames per second; expected 0.1 to {fastest} for {path.suffix}")
    if path.suffix == ".mp4":
        _ffmpeg()
    return path


def write_movie(out: str | Path, frames: Iterable[Frame], fps: float, colours: str) -> None:
    """Write frames to a GIF or MP4 file, beside its path, and rename it.

    Args:
        out: Path of the output, `.gif` or `.mp4`.
        frames: Frames of one size.
        fps: Frames per second.
        colours: Name of the colour map of the frames, for the palette of a GIF.

    Raises:
        ValueError: See `check_movie`.
        OSError: If the file cannot be written.
    """
    path = check_movie(out, fps)
    with written_beside(path) as scratch:
        if path.suffix == ".mp4":
            _write_mp4(path, scratch, frames, fps)
            return
        try:
            with scratch.open("wb") as file:
                file.writelines(_gif(frames, fps, colours))
        except OSError as error:
            raise cannot_write(path, error) from error


def _gif(frames: Iterable[Frame], fps: float, colours: str) -> Iterator[bytes]:
    """Yield the parts of a GIF file (GIF89a specification, CompuServe 1990).

    Pillow compresses each frame; it would keep all frames of a file in memory.
    """
    delay = round(100 / fps)  # hundredths of a second
    control = struct.pack("<BBBBHBB", _EXTENSION, 0xF9, 4, 0b100, delay, 0, 0)
    palette: Image.Image | None = None
    for frame in frames:
        picture = Image.fromarray(frame)
        if palette is None:
            palette = _palette(picture, colours)
            yield b"GIF89a" + struct.pack("<HHBBB", *picture.size, 0, 0, 0)
            forever = struct.pack("<BHB", 1, 0, 0)
            yield struct.pack("<BBB", _EXTENSION, 0xFF, 11) + b"NETSCAPE2.0\x03" + forever
        buffer = BytesIO()
        picture.quantize(palette=palette, dither=Image.Dither.NONE).save(
            buffer, "GIF", optimize=False
        )
        yield control + _image_block(buffer.getvalue())
    yield b";"


def _palette(picture: Image.Image, colours: str) -> Image.Image:
    """Return a picture whose palette has the colours of a colour map and of a frame."""
    of_map = colormaps[colours](np.linspace(0, 1, _GIF_COLOURS), bytes=True)[:, :3]
    others = picture.quantize(256 - _GIF_COLOURS, dither=Image.Dither.NONE).getpalette() or []
    image = Image.new("P", (1, 1))
    image.putpalette([*of_map.ravel().tolist(), *others][: 3 * 256])
    return image


def _image_block(gif: bytes) -> bytes:
    """Return the only image of a GIF file as a block with its own colour table."""
    flags, start = gif[10], 13
    size = 3 * 2 ** ((flags & 7) + 1)
    table, at = gif[start : start + size], start + size
    while gif[at] == _EXTENSION:
        at = _end_of_data(gif, at + 2)
    assert gif[at] == _IMAGE and not gif[at + 9] & 0x80
    descriptor = gif[at : at + 9] + bytes([gif[at + 9] | 0x80 | (flags & 7)])
    return descriptor + table + gif[at + 10 : _end_of_data(gif, at + 11)]


def _end_of_data(gif: bytes, at: int) -> int:
    """Return the position after the sub-blocks of data that begin at a position."""
    while gif[at]:
        at += gif[at] + 1
    return at + 1


def _write_mp4(path: Path, scratch: Path, frames: Iterable[Frame], fps: float) -> None:
    """Send frames to ffmpeg, which writes H.264 as all browsers play it.

    Raises:
        OSError: If ffmpeg fails.
    """
    program, frames = _ffmpeg(), iter(frames)
    first = next(frames)
    # The format halves the resolution of colours, which needs even sizes.
    height, width = (n - n % 2 for n in first.shape[:2])
    command = _command(program, scratch, width, height, fps)
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=messages, stderr=messages)
        assert process.stdin is not None
        try:
            for frame in chain([first], frames):
                process.stdin.write(np.ascontiguousarray(frame[:height, :width]).tobytes())
            process.stdin.close()
        except BrokenPipeError:  # it has ended, and says why
            pass
        except BaseException:
            process.kill()
            raise
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
        if process.returncode:
            messages.seek(0)
            lines = messages.read().decode(errors="replace").splitlines()
            reason = next(filter(None, map(str.strip, lines)), "no message")
            raise OSError(
                f"cannot write {path} (ffmpeg: {reason}); make room, install another ffmpeg, or "
                "write .gif"
            )


def _command(program: str, path: Path, width: int, height: int, fps: float) -> list[str]:
    """Return the command line of ffmpeg."""
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:g}"]
    coded = ["-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    return [program, "-y", "-v", "error", *source, "-i", "-", "-an", *coded, "-f", "mp4", str(path)]


def _ffmpeg() -> str:
    """Return the path of ffmpeg: that of the package imageio-ffmpeg, or of the system.

    Raises:
        ValueError: If there is none.
    """
    try:
        import imageio_ffmpeg

        program: Any = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        program = shutil.which("ffmpeg")
    if not program:
        raise ValueError(
            "MP4 needs the program ffmpeg; install sphere-forecast[video], or ffmpeg, or write .gif"
        )
    return str(program)
