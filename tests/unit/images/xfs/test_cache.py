"""A cache that an image cannot make grow."""

from __future__ import annotations

from twinfs.images.bounded_cache import BoundedCache


def test_what_was_used_longest_ago_is_forgotten_first():
    cache: BoundedCache[str, int] = BoundedCache(3)
    for number, key in enumerate("abc"):
        cache.put(key, number)
    assert cache.get("a") == 0
    cache.put("d", 3)
    assert [cache.get(key) for key in "abcd"] == [0, None, 2, 3]


def test_costs_are_what_is_bounded():
    cache: BoundedCache[str, int] = BoundedCache(10)
    cache.put("small", 1, 4)
    cache.put("large", 2, 7)
    assert (cache.get("small"), cache.get("large")) == (None, 2)
    cache.put("too large", 3, 11)
    assert (cache.get("too large"), cache.get("large")) == (None, 2)


def test_replacing_frees_what_was_there():
    cache: BoundedCache[str, int] = BoundedCache(10)
    for value in range(50):
        cache.put("same", value, 6)
    cache.put("other", 1, 4)
    assert (cache.get("same"), cache.get("other")) == (49, 1)
