"""Animations: their frames, their files, and one frame in memory at a time."""

from __future__ import annotations

import subprocess
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.plotting.animation import frames as frames_module
from forecast.plotting.animation import movie
from forecast.plotting.animation.frames import Animation
from forecast.plotting.animation.movie import write_movie
from forecast.plotting.projections import map_view
from forecast.plotting.selection import Selection
from tests.forecast.stand_in import Turning


@pytest.fixture(scope="module")
def made(make_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("animation")
    store = make_store(folder / "s.zarr", "files", n_times=50)
    run_rollout(Turning(store, 0.9), store, folder / "f.nc", n_steps=4)
    return folder


@pytest.fixture(autouse=True)
def _few_pixels(monkeypatch):
    monkeypatch.setattr(frames_module, "_PIXELS", 100)
    monkeypatch.setattr(frames_module, "DPI", 40)


def _coloured(n, height=31, width=41):
    """Yield frames of one colour each, in the upper half."""
    for i in range(n):
        frame = np.full((height, width, 3), 255, np.uint8)
        frame[: height // 2] = 255 * i // n, 100, 200
        yield frame


def test_a_gif_has_every_frame_in_its_colours_for_its_time(tmp_path):
    write_movie(tmp_path / "a.gif", _coloured(12), fps=5, colours="viridis")
    with Image.open(tmp_path / "a.gif") as image:
        assert image.size == (41, 31) and image.n_frames == 12
        assert image.info["duration"] == 200 and image.info["loop"] == 0
        for i, frame in enumerate(_coloured(12)):
            image.seek(i)
            shown = np.asarray(image.convert("RGB")).astype(int)
            # The palette has the colour map and the colours of the first frame alone.
            assert (shown[20:] == 255).all()
            assert (shown[:15] == shown[0, 0]).all() or i == 0
            assert i > 0 or np.abs(shown - frame).max() <= 8


def test_the_memory_of_a_gif_does_not_grow_with_the_number_of_frames(tmp_path):
    peaks = []
    for n in (5, 60):
        tracemalloc.start()
        write_movie(tmp_path / f"{n}.gif", _coloured(n, 200, 300), fps=5, colours="viridis")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_an_mp4_has_every_frame_in_its_colours(tmp_path):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    write_movie(tmp_path / "a.mp4", _coloured(7, 65, 81), fps=4, colours="viridis")
    words = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(tmp_path / "a.mp4")]
    raw = subprocess.run(
        [*words, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], check=True, capture_output=True
    ).stdout
    shown = np.frombuffer(raw, np.uint8).reshape(-1, 64, 80, 3).astype(int)  # even sizes
    assert len(shown) == 7
    for found, frame in zip(shown, _coloured(7, 65, 81), strict=True):
        assert np.abs(found[5:20, 10:70] - frame[0, 0]).max() < 12  # lossy
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_frames_show_the_fields_in_the_colours_of_all_lead_times(made):
    selection = Selection.find(ForecastFile(made / "f.nc"))
    animation = Animation(selection, "t2m", map_view("plate-carree"), truth=made / "s.zarr")
    panels = animation.panels()
    assert [panel.title for panel in panels] == ["Forecast", "Truth"]
    fields = [animation.fields(p) for p in range(5)]
    largest = max(np.abs(f["Truth"]).max() for f in fields)
    assert 0.9 * largest < panels[0].high <= largest
    done = []
    frames = list(animation.frames(panels, progress=lambda *steps: done.append(steps)))
    assert len(frames) == 5 and done == [(i, 5) for i in range(1, 6)]
    changed = (np.diff(np.stack(frames).astype(int), axis=0) != 0).any((0, 3))
    assert len({f.shape for f in frames}) == 1
    # Maps and titles change; the colour bar below them and the left edge do not.
    assert not changed[-10:].any() and not changed[:, :2].any()
    assert changed.any()


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_the_command_writes_an_animation(made, tmp_path, run_forecast, suffix):
    if suffix == "mp4":
        pytest.importorskip("imageio_ffmpeg")
    out = tmp_path / f"x.{suffix}"
    words = ("plot", "animation", made / "f.nc", "--variable", "sst", "--every", "2")
    assert run_forecast(*words, "--out", out) == 0
    assert [p.name for p in tmp_path.iterdir()] == [out.name]
    if suffix == "gif":
        with Image.open(out) as image:
            assert image.n_frames == 3  # steps 0, 2 and 4


def test_a_failure_leaves_no_file(made, tmp_path, refused, monkeypatch):
    words = ("plot", "animation", made / "f.nc", "--variable", "sst")
    assert "expected .gif or .mp4" in refused(*words, "--out", tmp_path / "x.avi")
    out = tmp_path / "x.gif"
    assert "0 frames per second; expected 0.1 to 50" in refused(*words, "--out", out, "--fps", "0")
    assert "every 0th lead time" in refused(*words, "--out", out, "--every", "0")
    words = ("plot", "animation", made / "f.nc", "--variable", "ssst")
    assert "has no variable 'ssst'" in refused(*words, "--out", out)

    def failing():
        yield from _coloured(2)
        raise RuntimeError("the third frame fails")

    for suffix in ("gif", "mp4") if movie.shutil.which("ffmpeg") or _has_ffmpeg() else ("gif",):
        with pytest.raises(RuntimeError, match="the third frame"):
            write_movie(tmp_path / f"x.{suffix}", failing(), fps=4, colours="viridis")
    assert list(tmp_path.iterdir()) == []


def _has_ffmpeg():
    try:
        return bool(movie._ffmpeg())
    except ValueError:
        return False


def test_an_mp4_without_ffmpeg_is_refused_before_anything_is_drawn(
    made, tmp_path, refused, monkeypatch
):
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ("plot", "animation", made / "absent.nc", "--variable", "sst")
    line = refused(*words, "--out", tmp_path / "x.mp4")
    assert "MP4 needs the program ffmpeg; install sphere-forecast[video], or ffmpeg, or" in line


def test_the_reason_of_ffmpeg_is_given(tmp_path, monkeypatch):
    if not _has_ffmpeg():
        pytest.skip("no ffmpeg")
    wrong = ["-f", "nonsense", "-i", "-", "x.mp4"]
    monkeypatch.setattr(movie, "_command", lambda program, *rest: [program, "-v", "error", *wrong])
    with pytest.raises(OSError, match=r"cannot write .*x.mp4 \(ffmpeg: .*nonsense.*or write .gif"):
        write_movie(tmp_path / "x.mp4", _coloured(40, 200, 300), fps=4, colours="viridis")
    assert list(tmp_path.iterdir()) == []
