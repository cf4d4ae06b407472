"""The latency benchmark's own arithmetic: which answer a label was first in, and answers cut in pieces."""

from benchmarks.latency import Client, fresh


def test_a_label_is_live_at_the_first_answer_that_covers_its_append():
    deltas = [(1_000, 5), (2_000, 6), (3_000, 8)]
    covers = [(5, 10_000), (7, 20_000), (8, 30_000)]
    # In delta 5 at its very end; in delta 6, first answered with 7; in 8; after the last delta; and never answered.
    sent = [(900, 1_000), (1_100, 1_001), (2_500, 2_900), (3_100, 3_001)]
    assert fresh(sent, deltas, covers) == [9.1, 18.9, 27.5]
    assert fresh(sent, deltas, covers[:1]) == [9.1]
    assert fresh(sent, [], covers) == []


def test_an_answer_is_taken_when_it_is_whole():
    seen = []
    client = Client(lambda client, status, body: seen.append((status, body)))
    text = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n" + b'{"delta":7}'
    for i in range(0, len(text), 7):
        assert not seen
        client.data_received(text[i : i + 7])
    client.data_received(text.replace(b"200 OK", b"429 No"))
    assert seen == [(200, b'{"delta":7}'), (429, b'{"delta":7}')]
