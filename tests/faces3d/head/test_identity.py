"""People are drawn by seed, within their ranges."""

import numpy as np

from legan_faces3d.head.identity import draw_identity
from legan_faces3d.head.noise import Stream, generator


def test_equal_seeds_give_equal_people():
    first, again, other = draw_identity(4), draw_identity(4), draw_identity(5)
    assert first.shape.local_changes == again.shape.local_changes != other.shape.local_changes
    assert first.skin == again.skin != other.skin
    np.testing.assert_array_equal(first.room.backdrop, again.room.backdrop)


def test_another_attempt_gives_another_shape():
    assert draw_identity(4, attempt=1).shape.local_changes != draw_identity(4).shape.local_changes


def test_traits_stay_in_their_ranges():
    people = [draw_identity(seed) for seed in range(200)]
    for person in people:
        assert 0.62 <= person.shape.age <= 0.97
        assert abs(person.shape.ancestry.sum() - 1) < 1e-6
        assert max(abs(value) for value in person.shape.local_changes.values()) < 1.2
        assert 0.03 <= person.skin.melanin <= 1.6
        assert abs(np.linalg.norm(person.room.window_direction) - 1) < 1e-6
    share_female = np.mean([person.shape.female for person in people])
    share_glasses = np.mean([person.glasses is not None for person in people])
    assert 0.3 < share_female < 0.6 and 0.1 < share_glasses < 0.35
    assert len({round(person.skin.melanin, 4) for person in people}) > 150


def test_streams_do_not_touch_each_other():
    numbers = {stream: generator(3, stream).random() for stream in Stream}
    assert len(set(numbers.values())) == len(Stream)
    assert generator(3, Stream.POSE, 1).random() != generator(3, Stream.POSE, 2).random()
    assert len({int(stream) for stream in Stream}) == len(list(Stream))
