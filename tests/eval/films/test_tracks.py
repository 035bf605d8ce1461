"""Faces of a film joined to tracks."""

import numpy as np
import pytest

from data.alignment.every_face import PlacedFace
from data.alignment.photos import FacePhoto
from eval.films.tracks import Tracker, quality

EYE = np.eye(3, dtype=np.float32)


def face(left, side=100.0, *, top=0.0, sharpness=0.3, yaw=0.0):
    box = np.array([left, top, left + side, top + side], np.float32)
    photo = FacePhoto(np.zeros((8, 8, 3), np.uint8), 1, "", side, sharpness, yaw)
    return PlacedFace(box, np.zeros((5, 2), np.float32), photo)


def follow(looks, threshold=1.0):
    """``looks``: (seconds, faces, embeddings); frames are numbered by tenths of a second."""
    tracker = Tracker(threshold)
    for seconds, faces, rows in looks:
        tracker.add(round(seconds * 10), seconds, faces, np.array(rows, np.float32).reshape(-1, 3))
    return tracker.tracks


def test_two_people_who_walk_past_each_other_stay_two_tracks():
    looks = [
        (number / 5, [face(40 * number), face(400 - 40 * number, top=40)], [EYE[0], EYE[1]]) for number in range(11)
    ]
    tracks = follow(looks)
    assert len(tracks) == 2 and [list(track.frames) for track in tracks] == [list(range(0, 21, 2))] * 2
    assert [track.box(10)[0] for track in tracks] == [400, 0] and tracks[0].meets(tracks[1])


def test_another_person_in_the_same_place_is_another_track():
    tracks = follow([(0.0, [face(0)], [EYE[0]]), (0.2, [face(0)], [EYE[1]])])
    assert len(tracks) == 2 and not tracks[0].meets(tracks[1])


@pytest.mark.parametrize(
    ("cosine", "moved", "joined"),
    # Distances 0.89, 1.0, 1.18 and 1.21 at threshold 1; a box moved by its side overlaps no more.
    [(0.604, 100, True), (0.5, 100, False), (0.304, 0, True), (0.268, 0, False), (1.0, 149, True), (1.0, 151, False)],
)
def test_the_more_boxes_overlap_the_less_alike_faces_must_be(cosine, moved, joined):
    other = [cosine, np.sqrt(1 - cosine**2), 0]
    tracks = follow([(0.0, [face(0)], [EYE[0]]), (0.2, [face(moved)], [other])])
    assert (len(tracks) == 1) == joined


def test_a_track_ends_after_a_second_unseen():
    for gap, count in ((1.0, 1), (1.2, 2)):
        looks = [(0.0, [face(0)], [EYE[0]]), (0.4, [], []), (gap, [face(0)], [EYE[0]])]
        assert len(follow(looks)) == count


def test_between_two_looks_the_box_lies_on_the_straight_line():
    track = follow([(0.0, [face(0)], [EYE[0]]), (0.4, [face(80)], [EYE[0]])])[0]
    assert [track.box_at(frame)[0] for frame in range(5)] == [0, 20, 40, 60, 80]


def test_the_best_face_is_large_sharp_and_frontal():
    looks = [(0.0, [face(0, 60)], [EYE[0]]), (0.2, [face(0, 90)], [EYE[0]]), (0.4, [face(0, 95, yaw=60)], [EYE[0]])]
    looks.append((0.6, [face(0, 95, sharpness=0.1)], [EYE[0]]))
    track = follow(looks)[0]
    assert (track.best.seconds, track.best.pixels, track.last, len(track.frames)) == (0.2, 90, 0.6, 4)
    whole = face(0, 200).photo
    assert quality(whole) == 1.0 and quality(face(0, 300).photo) == 1.0
    assert quality(face(0, 200, yaw=90).photo) == pytest.approx(0, abs=1e-9)
