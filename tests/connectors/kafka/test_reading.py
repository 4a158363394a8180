"""Messages of a real broker become rows, and offsets become positions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer as PlainConsumer
from confluent_kafka import Producer, TopicPartition

from tests.connectors.kafka.hosts import MemoryArchive, running
from tests.connectors.kafka.topics import Topic, message

type Topics = Callable[..., Topic]


def test_every_message_is_a_row_and_positions_are_next_offsets(topic: Topics) -> None:
    told = topic(partitions=3)
    told.send(range(300))
    with running(told.options()) as host:
        host.until(lambda: len(host.archive.numbers) == 300)
        counters = host.source.counters()
    assert sorted(host.archive.numbers) == list(range(300))
    assert host.archive.known == {
        f"kafka/group-of-{told.name}": {told.name: {"0": 100, "1": 100, "2": 100}}
    }
    assert counters["messages"] == counters["rows"] == 300


def test_a_new_source_goes_on_from_the_archive_not_from_the_broker(topic: Topics) -> None:
    told = topic(partitions=2)
    archive = MemoryArchive()
    told.send(range(100))
    with running(told.options(), archive) as host:
        host.until(lambda: len(archive.numbers) == 100)
        told.send(range(100, 150))
        while not host.draw():
            pass  # these rows are on their way when the process ends: they come again
    told.send(range(150, 200))
    with running(told.options(), archive) as host:
        host.until(lambda: len(archive.numbers) >= 200)
    assert sorted(archive.numbers) == list(range(200))
    assert archive.left_out == 0


def test_offsets_are_told_to_the_broker_for_tools(topic: Topics) -> None:
    told = topic()
    told.send(range(10))
    options = told.options()
    with running(options) as host:
        host.until(lambda: len(host.archive.numbers) == 10)
    reader = PlainConsumer({"bootstrap.servers": told.address, "group.id": options.group_id})
    [committed] = reader.committed([TopicPartition(told.name, 0)], timeout=10)
    reader.close()
    assert committed.offset == 10


def test_latest_is_fixed_before_the_first_message_comes(topic: Topics) -> None:
    told = topic()
    archive = MemoryArchive()
    told.send(range(5))
    options = told.options(start="latest")
    with running(options, archive) as host:
        host.until(lambda: bool(archive.known))
    told.send(range(5, 8))  # while no process runs
    with running(options, archive) as host:
        host.until(lambda: len(archive.numbers) == 3)
    assert archive.numbers == [5, 6, 7]


def test_a_time_starts_at_the_first_record_with_this_timestamp(topic: Topics) -> None:
    told = topic(message_timestamp_type="CreateTime")
    base = 1_700_000_000_000
    for number in range(4):
        told.put(message(number), timestamp=base + number * 1000)
    with running(told.options(start="2023-11-14T22:13:21.5Z")) as host:
        host.until(lambda: len(host.archive.numbers) == 2)
    assert host.archive.numbers == [2, 3]


def test_partitions_that_are_added_are_read_from_their_beginning(topic: Topics) -> None:
    told = topic()
    told.send([0])
    options = told.options(start="latest", settings={"topic.metadata.refresh.interval.ms": 200})
    with running(options) as host:
        host.until(lambda: bool(host.archive.known))
        told.grow(2)
        told.put(message(7), partition=1)
        host.until(lambda: bool(host.archive.numbers))
    assert host.archive.numbers == [7]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_topics(topic: Topics, codec: str) -> None:
    told = topic()
    told.send(range(500), **{"compression.codec": codec})
    with running(told.options()) as host:
        host.until(lambda: len(host.archive.numbers) == 500)
    assert host.archive.numbers == list(range(500))


def test_compacted_topics_with_tombstones_and_gaps(topic: Topics) -> None:
    told = topic(
        cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.01",
        delete_retention_ms="100000",
    )  # fmt: skip
    for number in range(5):
        told.put(message(number), "device-a")
    told.put(None, "device-b")
    time.sleep(0.3)
    told.put(message(5), "device-c")  # begins a new segment: the older one may be compacted
    deadline = time.monotonic() + 30
    while _offsets(told) == list(range(7)):
        assert time.monotonic() < deadline, "the broker does not compact"
        time.sleep(0.2)
    told.put(None, "device-a")
    told.send([])
    with running(told.options()) as host:
        host.until(lambda: host.archive.known != {} and _position(host.archive, told) == 8)
        counters = host.source.counters()
    assert host.archive.numbers[-2:] == [4, 5]
    assert len(host.archive.numbers) < 6
    assert counters["tombstones"] == 2
    assert host.archive.records == []


def test_aborted_messages_are_no_rows_and_lag_ends_at_nothing(topic: Topics) -> None:
    told = topic()
    settings = {"bootstrap.servers": told.address, "transactional.id": f"writer-{told.name}"}
    producer = Producer(settings)
    producer.init_transactions(30)
    for numbers, is_kept in ((range(10), True), (range(10, 20), False), (range(20, 30), True)):
        producer.begin_transaction()
        for number in numbers:
            producer.produce(told.name, message(number), "device-0")
        producer.flush(30)
        producer.commit_transaction(30) if is_kept else producer.abort_transaction(30)
    with running(told.options()) as host:
        host.until(lambda: _position(host.archive, told) == 33)  # 30 messages, 3 markers
        host.until(lambda: host.source.counters().get("lag") == 0)
    assert host.archive.numbers == [*range(10), *range(20, 30)]


def test_what_cannot_be_decoded_is_kept_whole(topic: Topics) -> None:
    told = topic()
    told.put(b"no json \xff", b"key", headers=[("trace", b"1"), ("trace", None)], timestamp=1000)
    told.send([1])
    with running(told.options()) as host:
        host.until(lambda: host.archive.numbers == [1])
        counters = host.source.counters()
    [record], [reason] = host.archive.records, host.archive.reasons
    assert json.loads(record) == {
        "topic": told.name,
        "received": "1970-01-01T00:00:01.000000Z",
        "payload_base64": "bm8ganNvbiD/",
        "key": "key",
        "headers": [{"name": "trace", "value": "1"}, {"name": "trace", "value": ""}],
    }
    assert "not valid JSON" in reason
    assert counters["rejected"] == 1


def test_keys_headers_timestamps_and_topics_are_fields(topic: Topics) -> None:
    told = topic()
    mapping = {
        "topic": "topic-{series}",
        "device": "{message/key}@{header/site}#{series}",
        "time": "message/received",
        "channels": {"number": {"dtype": "int64", "column": "."}},
    }
    told.put(b"42", b"press", headers={"site": b"ghent"}, timestamp=1_700_000_000_123)
    with running(told.options(payload={"json": {"mapping": mapping}})) as host:
        batch = None
        while batch is None or not batch.table.num_rows:
            batch = host.source.poll(1.0)
    [row] = batch.table.to_pylist()
    assert row["device"] == f"press@ghent#{told.name.removeprefix('topic-')}"
    assert row["time"].timestamp() == 1_700_000_000.123
    assert row["number"] == 42


def test_payloads_of_many_readings(topic: Topics) -> None:
    told = topic()
    readings = [{"at": 1_700_000_000_000 + n, "number": n} for n in range(100)]
    told.put(json.dumps(readings).encode())
    with running(told.options()) as host:
        host.until(lambda: len(host.archive.numbers) == 100)
    assert host.archive.numbers == list(range(100))


def test_batches_end_at_their_limits(topic: Topics) -> None:
    told = topic()
    told.send(range(1000))
    options = told.options(limits={"batch_messages": 64, "linger_s": 2.0})
    with running(options) as host:
        sizes: list[int] = []
        while sum(sizes) < 1000:
            sizes.append(host.draw(1.0))
        host.commit()
    assert max(sizes) == 64
    assert sorted(host.archive.numbers) == list(range(1000))

    small = told.options(group_id="bytes", limits={"batch_bytes": 500, "linger_s": 2.0})
    with running(small) as host:
        sizes = []
        while sum(sizes) < 300:
            sizes.append(host.draw(1.0))
    # Some 46 bytes a message; how many are asked for is an estimate from those before.
    assert max(sizes) < 220


def test_pause_and_resume(topic: Topics) -> None:
    told = topic(partitions=2)
    told.send(range(10))
    with running(told.options()) as host:
        host.until(lambda: len(host.archive.numbers) == 10)
        host.source.pause()
        told.send(range(10, 20))
        for _ in range(5):
            host.draw(0.2)
        host.commit()
        assert len(host.archive.numbers) == 10
        assert host.source.counters()["paused"] == 1
        host.until(lambda: host.source.counters().get("lag") == 10)
        host.source.resume()
        host.until(lambda: len(host.archive.numbers) == 20)
        host.until(lambda: host.source.counters().get("lag") == 0)
    assert sorted(host.archive.numbers) == list(range(20))


def test_lag_is_counted_for_every_partition(topic: Topics) -> None:
    told = topic(partitions=2)
    told.send(range(2000))
    with running(told.options(limits={"batch_messages": 500})) as host:
        host.until(lambda: len(host.archive.numbers) >= 500)
        time.sleep(2.1)  # longer than the lag is left alone
        host.draw()
        counters = host.source.counters()
        name = f"lag/{told.name}"
        assert 0 < int(counters["lag"]) <= 1500
        assert counters["lag"] == int(counters[f"{name}/0"]) + int(counters[f"{name}/1"])


def test_a_regular_expression_names_topics(topic: Topics) -> None:
    one, other = topic(), topic()
    one.send([1])
    other.send([2])
    options = one.options(topics=[f"^({one.name}|{other.name})$"])
    with running(options) as host:
        host.until(lambda: len(host.archive.numbers) == 2)
    assert sorted(host.archive.numbers) == [1, 2]


def _position(archive: MemoryArchive, told: Topic) -> int:
    return archive.known_of(told.name).get("0", -1)


def _offsets(told: Topic) -> list[int]:
    """Return the offsets that are still there."""
    reader = PlainConsumer({"bootstrap.servers": told.address, "group.id": "looks"})
    reader.assign([TopicPartition(told.name, 0, 0)])
    found: list[int] = []
    while not found or found[-1] < 6:
        one = reader.poll(5)
        assert one is not None
        assert one.error() is None
        offset = one.offset()
        assert offset is not None
        found.append(offset)
    reader.close()
    return found
