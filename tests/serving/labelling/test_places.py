"""Places of items stay sorted, whatever is put where."""

import random

from serving.labelling.places import Places


def test_places_are_sorted_and_each_items_is_its_last():
    drawn, places, wanted = random.Random(5), Places(), {}
    for _ in range(500):
        about = f"i{drawn.randrange(20)}"
        place = None if drawn.random() < 0.3 else (float(drawn.randrange(3)), drawn.randrange(5), about)
        places.put(about, place)
        wanted[about] = place
        assert places == sorted(p for p in wanted.values() if p is not None)
