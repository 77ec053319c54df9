#!/usr/bin/env python3
"""Reads with fastavro what tests/formats_avro.rs left in a folder, and compares it with what went in.

    RINGPOST_DUMP=FOLDER cargo test --test formats_avro
    python3 tests/python/read_avro.py FOLDER

fastavro is a reader that shares nothing with the Rust code. Exit code 1 if anything differs.
"""

import base64
import io
import json
import math
import pathlib
import struct
import sys

import fastavro


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def key_text(key):
    """What a key of a map becomes."""
    if isinstance(key, str):
        return key
    if isinstance(key, dict):
        return key["$b64"]
    return json.dumps(key)


def same(expected, actual):
    """Whether the value is the one that the official client read, type by type."""
    if isinstance(expected, bool) or expected is None:
        return actual is expected
    if isinstance(expected, float):
        return isinstance(actual, float) and struct.pack(">d", expected) == struct.pack(">d", actual)
    if isinstance(expected, (int, str)):
        return type(actual) is type(expected) and actual == expected
    if isinstance(expected, list):
        return isinstance(actual, list) and len(actual) == len(expected) and all(map(same, expected, actual))
    ((mark, content),) = expected.items()
    if mark == "$b64":
        return actual == base64.b64decode(content)
    if mark == "$geo":
        return actual == content
    if mark == "$f":
        return isinstance(actual, float) and (math.isnan(actual) if content == "nan" else actual == float(content))
    names = {key_text(key) for key, _ in content}
    return (
        isinstance(actual, dict)
        and set(actual) == names
        and all(any(key_text(key) == name and same(value, found) for key, value in content) for name, found in actual.items())
    )


def check_datum(line):
    """A raw datum of a server frame: its bins and its metadata, and nothing behind them."""
    body = io.BytesIO(bytes.fromhex(line["body_hex"]))
    schema = fastavro.parse_schema(json.loads(line["schema"]))
    found = fastavro.schemaless_reader(body, schema)
    assert body.read() == b"", "bytes are left"
    expect = line["expect"]
    is_map = schema["type"] == "map"
    checked = 0
    for bin in expect["bins"]:
        if bin["name"] in found or is_map:
            assert same(bin["value"], found[bin["name"]]), f"bin {bin['name']!r} is {found[bin['name']]!r}"
            checked += 1
    metadata = found["metadata"]
    key = expect["user_key"] and expect["user_key"]["value"]
    assert same(key, metadata["userKey"]), f"user key {metadata['userKey']!r}"
    assert metadata["digest"] == bytes.fromhex(expect["digest_hex"])
    for ours, theirs in [("namespace", "namespace"), ("set", "set"), ("msg", "op"), ("gen", "gen")]:
        assert metadata[ours] == expect[theirs], f"{ours} is {metadata[ours]!r}"
    return checked


def check_container(line):
    """An object container file: so many records, and the last of them."""
    reader = fastavro.reader(io.BytesIO(bytes.fromhex(line["body_hex"])))
    assert reader.writer_schema["name"] == "Top"
    records = list(reader)
    assert len(records) == line["expect"]["count"], f"{len(records)} records"
    assert records[-1]["v"] == line["expect"]["last"]
    assert records[-1]["metadata"]["namespace"] == "ns"
    return len(records)


def main(folder):
    failed = False
    for name, check in [("avro_datums.jsonl", check_datum), ("avro_containers.jsonl", check_container)]:
        checked = 0
        entries = lines(folder / name)
        for line in entries:
            try:
                checked += check(line)
            except Exception as error:  # Each line is reported, whatever is wrong with it.
                failed = True
                print(f"{name}: {line['name']}: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"{name}: {len(entries)} bodies, {checked} values or records")
        failed |= checked == 0
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1])))
