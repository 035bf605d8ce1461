"""Films are read to where they end, and written whole."""

import cv2
import numpy as np
import pytest

from eval.films.film import Film, new_film
from runtime.errors import InputError


def write_film(path, frames, rate=10.0, codec="MJPG", size=(64, 48)):
    """Frame number n is evenly grey, 4 n."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), rate, size)
    for number in range(frames):
        writer.write(np.full((size[1], size[0], 3), 4 * number, np.uint8))
    writer.release()
    return path


def test_frames_come_in_order_with_their_times(tmp_path):
    film = Film(write_film(tmp_path / "a.avi", 20))
    frames = list(film.frames())
    assert [round(frame.seconds, 3) for frame in frames] == [round(n / 10, 3) for n in range(20)]
    assert [round(frame.image.mean() / 4) for frame in frames] == list(range(20)) == [f.number for f in frames]
    assert (film.rate, film.expected, film.read, film.cut_short) == (10.0, 20, 20, False)


def test_as_many_frames_are_looked_at_as_asked_for(tmp_path):
    film = Film(write_film(tmp_path / "a.avi", 20))
    assert [frame.number for frame in film.frames(every=0.5) if frame] == [0, 5, 10, 15]
    assert [frame.number for frame in film.frames(every=0.05) if frame] == list(range(20))
    assert len(list(film.frames(every=0.5))) == 20


def test_a_film_that_ends_in_the_middle_gives_what_is_there(tmp_path):
    whole = write_film(tmp_path / "a.avi", 50).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) * 6 // 10])
    film = Film(tmp_path / "cut.avi")
    read = [frame for frame in film.frames() if frame]
    assert film.cut_short and film.expected == 50 and 15 < len(read) == film.read < 40
    assert film.seconds == pytest.approx((film.read - 1) / 10)


@pytest.mark.parametrize("rate", [23.976023976, 29.97, 66.6666, 100.001, 119.987, 239.766])
def test_a_copy_is_as_fast_as_its_film(tmp_path, rate):
    with new_film(tmp_path / "a.mp4", rate) as film:
        for _ in range(3):
            film.add(np.zeros((48, 64, 3), np.uint8))
    assert Film(tmp_path / "a.mp4").rate == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize("content", [b"", b"no film" * 100, None])
def test_what_is_no_film_is_one_line(tmp_path, content, capfd):
    path = tmp_path / "a.mp4"
    if content is None:  # its index, which comes last, is cut off
        content = write_film(path, 30, codec="mp4v").read_bytes()[:-500]
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a.mp4 is no film that OpenCV can decode, or was cut off"):
        Film(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("codec", ["MJPG", "mp4v"])
def test_damaged_films_give_frames_or_one_line(tmp_path, codec):
    path = tmp_path / ("a.avi" if codec == "MJPG" else "a.mp4")
    whole, rng = write_film(path, 12, codec=codec).read_bytes(), np.random.default_rng(0)
    for _ in range(20):
        data = bytearray(whole)
        for place in rng.integers(len(data), size=8):
            data[place] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            frames = [frame for frame in Film(path).frames() if frame]
        except InputError:
            continue
        assert all(frame.image.ndim == 3 and frame.seconds >= 0 for frame in frames)


def test_a_written_film_is_read_again(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (12, 3))
    with new_film(tmp_path / "new.mp4", 12.5) as film:
        for colour in colours:
            film.add(np.full((51, 65, 3), colour, np.uint8))
    read = Film(tmp_path / "new.mp4")
    frames = list(read.frames())
    assert len(frames) == 12 and read.rate == 12.5 and frames[0].image.shape == (50, 64, 3)
    np.testing.assert_allclose([frame.image.mean((0, 1)) for frame in frames], colours, atol=6)


def test_frames_of_another_size_become_as_large_as_the_first(tmp_path):
    with new_film(tmp_path / "new.mp4", 10) as film:
        for height, width in ((48, 64), (96, 128), (24, 32)):
            film.add(np.full((height, width, 3), 90, np.uint8))
    assert [frame.image.shape for frame in Film(tmp_path / "new.mp4").frames()] == [(48, 64, 3)] * 3


def test_a_film_that_was_not_written_whole_is_no_result(tmp_path):
    with pytest.raises(RuntimeError, match="0 of 1 frames"), new_film(tmp_path / "new.mp4", 10) as film:
        film.add(np.zeros((32, 32, 3), np.uint8))
        film._writer.release()
        (tmp_path / "new.mp4").write_bytes(b"")
