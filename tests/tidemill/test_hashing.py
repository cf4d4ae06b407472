import pytest

from tidemill.hashing import group_of, murmur2, partition_of, xxh64


@pytest.mark.parametrize(
    ("data", "signed"),
    [
        # Kafka's own test vectors (org.apache.kafka.common.utils.UtilsTest)
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_kafkas(data, signed):
    assert murmur2(data) == signed & 0xFFFFFFFF


def test_partitions_are_those_of_kafka_python():
    from kafka.partitioner.default import murmur2 as theirs

    for i in range(300):
        key = bytes(range(i % 7)) + b"%d" % i
        assert partition_of(key, 11) == (theirs(key) & 0x7FFFFFFF) % 11


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_xxh64_is_the_specifications(data, digest):
    assert xxh64(data) == digest


def test_groups_cover_their_range_and_one_group_needs_no_hash():
    assert {group_of(str(i), 16) for i in range(1000)} == set(range(16))
    assert group_of("x", 1) == 0
