#!/usr/bin/env python3
"""Reads what Ringpost wrote with Python's own readers and compares it with what the official client read.

    RINGPOST_DUMP=FOLDER cargo test --test formats_dump
    pip install msgpack
    python3 tests/python/read_formats.py FOLDER

Each line of FOLDER/formats.jsonl is one record in one format (tests/formats_dump.rs). Every body must be readable to its
end; a body with `expect` must have its values, type by type. A format is one function in FORMATS, which turns a body into
a Record, and a Dialect, which says how that format shows what `expect` marks: bytes, maps, GeoJSON, doubles.
"""

import base64
import json
import math
import struct
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, Optional

import msgpack

LUT_EPOCH_MS = 1_262_304_000_000

# The number of each type in MessagePack, and its name in typed JSON.
TYPES = {
    "int": (1, "int"),
    "float": (2, "float"),
    "string": (3, "str"),
    "blob": (4, "blob"),
    "bool": (17, "bool"),
    "hll": (18, "hll"),
    "map": (19, "map"),
    "list": (20, "list"),
    "geojson": (23, "geojson"),
}

# A member that the format does not have, as against one that is null.
ABSENT = object()


class Wrong(Exception):
    """What is wrong with a body."""


class Bin(NamedTuple):
    name: str
    type: Any  # the type's number or name; ABSENT if the format does not say it
    value: Any


class Record(NamedTuple):
    """A record as the format shows it; numbers that a record does not have are None."""

    op: str
    namespace: Any
    set: Any
    digest: Any
    user_key: Any
    gen: Any
    lut: Any
    exp: Any
    durable: Any
    bins: list


class Pairs(list):
    """A map as its pairs, so that keys of any type and repeated keys are kept."""


def check(condition: bool, message: str) -> None:
    if not condition:
        raise Wrong(message)


# --- The formats -----------------------------------------------------------------------------------------------------


def read_json_text(body: bytes) -> Any:
    def members(pairs):
        check(len({name for name, _ in pairs}) == len(pairs), f"a member twice: {[name for name, _ in pairs]}")
        return dict(pairs)

    def no_constant(name):
        raise Wrong(f"{name} is no JSON")

    return json.loads(body.decode("utf-8"), object_pairs_hook=members, parse_constant=no_constant)


def read_json(body: bytes, options: Any) -> Record:
    record = read_json_text(body)
    namespace, set_name, digest, user_key = record.pop("key")
    bins = [read_json_bin(bin) for bin in record.pop("bins", [])]
    op = record.pop("msg")
    gen, lut, exp = (record.pop(name, None) for name in ("gen", "lut", "exp"))
    durable = record.pop("durable", None)
    check(not record, f"unknown members: {record}")
    return Record(op, namespace, set_name, digest, user_key, gen, lut, exp, durable, bins)


def read_json_bin(bin: dict) -> Bin:
    read = Bin(bin.pop("name"), bin.pop("type"), bin.pop("value"))
    if read.type == "list":
        check(type(bin.pop("ordered")) is bool, f"bin {read.name}: whether the list is ordered is no boolean")
    if read.type == "map":
        check(bin.pop("order", "key") in ("key", "key-value"), f"bin {read.name}: unknown order")
    check(not bin, f"bin {read.name}: unknown members: {bin}")
    return read


def read_flat_json(body: bytes, options: Any) -> Record:
    bins = read_json_text(body)
    metadata = bins.pop(options["metadata_key"])
    check(None not in metadata.values(), f"null where the member must be absent: {metadata}")
    op, namespace, digest = (metadata.pop(name) for name in ("msg", "namespace", "digest"))
    rest = [metadata.pop(name, None) for name in ("set", "userKey", "gen", "lut", "exp", "durable")]
    check(not metadata, f"unknown metadata: {metadata}")
    set_name, user_key, gen, lut, exp, durable = rest
    bins = [Bin(name, ABSENT, value) for name, value in bins.items()]
    return Record(op, namespace, set_name, digest, user_key, gen, lut, exp, durable, bins)


def read_message_pack(body: bytes, options: Any) -> Record:
    # Strict: all of the body, and texts that are UTF-8.
    version, kind, payload = msgpack.unpackb(body, raw=False, strict_map_key=False, object_pairs_hook=Pairs)
    check(version == 1, f"version {version}")
    if kind == 1:
        key, gen, exp, lut, bins = payload
        durable = None
    else:
        check(kind == 2, f"kind {kind}")
        key, flags, *more = payload
        check(flags in (0, 1), f"flags {flags}")
        check(len(more) == (2 if options["delete_metadata"] else 0), f"{len(more)} parts behind the flags")
        gen, lut = more or (ABSENT, ABSENT)
        exp, durable, bins = None, flags == 1, []
    op = {1: "write", 2: "delete"}[kind]
    read = []
    for name, number, flags, value in bins:
        check(flags in {19: (0, 1, 3), 20: (0, 1)}.get(number, (0,)), f"flags {flags} of bin {name}")
        read.append(Bin(name, number, value))
    return Record(op, *key, gen, lut, exp, durable, read)


# --- How each shows what JSON in `expect` must mark -------------------------------------------------------------------


class JsonDialect:
    """Bytes are Base64, maps are objects, GeoJSON is parsed, doubles without a number are strings."""

    @staticmethod
    def type_of(name: str) -> Any:
        return TYPES[name][1]

    @staticmethod
    def same_bytes(expected: bytes, actual: Any) -> bool:
        return type(actual) is str and actual == base64.b64encode(expected).decode()

    @staticmethod
    def same_non_finite(expected: float, actual: Any) -> bool:
        names = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
        return type(actual) is str and actual in names and repr(names[actual]) == repr(expected)

    @staticmethod
    def same_geojson(expected: str, actual: Any, in_bin: bool) -> bool:
        return type(actual) is dict and actual == json.loads(expected)

    @classmethod
    def same_map(cls, expected: list, actual: Any) -> bool:
        if type(actual) is not dict:
            return False
        # Keys that become the same name: the later one stays.
        names = {cls.name(key): value for key, value in expected}
        return names.keys() == actual.keys() and all(same(cls, names[name], actual[name]) for name in names)

    @staticmethod
    def name(key: Any) -> str:
        if type(key) is dict:
            return key["$b64"]
        return key if type(key) is str else json.dumps(key)


class MessagePackDialect:
    """Every type has its own form; GeoJSON is text in a bin, and an extension inside lists and maps."""

    @staticmethod
    def type_of(name: str) -> Any:
        return TYPES[name][0]

    @staticmethod
    def same_bytes(expected: bytes, actual: Any) -> bool:
        return type(actual) is bytes and actual == expected

    @staticmethod
    def same_non_finite(expected: float, actual: Any) -> bool:
        return type(actual) is float and repr(actual) == repr(expected)

    @staticmethod
    def same_geojson(expected: str, actual: Any, in_bin: bool) -> bool:
        if in_bin:
            return type(actual) is str and actual == expected
        return type(actual) is msgpack.ExtType and actual == msgpack.ExtType(23, expected.encode())

    @classmethod
    def same_map(cls, expected: list, actual: Any) -> bool:
        if type(actual) is not Pairs or len(actual) != len(expected):
            return False
        return all(same(cls, a, c) and same(cls, b, d) for (a, b), (c, d) in zip(expected, actual))


FORMATS = {
    "json": (read_json, JsonDialect),
    "flat-json": (read_flat_json, JsonDialect),
    "message-pack": (read_message_pack, MessagePackDialect),
    # Avro joins here: "avro": (read_avro, AvroDialect), with the schema from the line's options.
}


# --- The comparison ---------------------------------------------------------------------------------------------------


def same(dialect: Any, expected: Any, actual: Any, in_bin: bool = False) -> bool:
    """Whether `actual` is `expected`, type by type, as `dialect` shows it."""
    if type(expected) is dict:
        ((mark, content),) = expected.items()
        if mark == "$b64":
            return dialect.same_bytes(base64.b64decode(content), actual)
        if mark == "$f":
            return dialect.same_non_finite(float(content), actual)
        if mark == "$geo":
            return dialect.same_geojson(content, actual, in_bin)
        if mark == "$pairs":
            return dialect.same_map(content, actual)
        raise Wrong(f"unknown mark {mark}")
    if type(expected) is not type(actual):
        return False
    if type(expected) is list:
        return len(expected) == len(actual) and all(same(dialect, a, b) for a, b in zip(expected, actual))
    if type(expected) is float:
        return struct.pack(">d", expected) == struct.pack(">d", actual)
    return expected == actual


def expected_metadata(expect: dict, arrival_ms: int) -> dict:
    is_write = expect["op"] == "write"
    lut, ttl = expect["lut_ms_cl_epoch"], expect["ttl_field"]
    never = ttl in (0, 0xFFFF_FFFF)
    return {
        "op": expect["op"],
        "namespace": expect["namespace"],
        "set": expect["set"],
        "digest": {"$b64": base64.b64encode(bytes.fromhex(expect["digest_hex"])).decode()},
        "user_key": expect["user_key"] and expect["user_key"]["value"],
        "gen": expect["gen"],
        "lut": None if lut is None else lut + LUT_EPOCH_MS,
        "exp": None if not is_write else 0 if never else arrival_ms // 1000 + ttl,
        "durable": None if is_write else expect["durable"],
    }


def compare(dialect: Any, expect: dict, arrival_ms: int, record: Record) -> int:
    """Raises what differs; returns how many values were compared."""
    values = 0
    for name, expected in expected_metadata(expect, arrival_ms).items():
        actual = getattr(record, name)
        if actual is not ABSENT:
            check(same(dialect, expected, actual), f"{name}: {expected!r} was expected, {actual!r} is there")
            values += 1
    names = [bin.name for bin in record.bins]
    check(names == [bin["name"] for bin in expect["bins"]], f"the bins are {names}")
    for expected, actual in zip(expect["bins"], record.bins):
        kind = dialect.type_of(expected["type"])
        where = f"bin {actual.name}"
        check(actual.type is ABSENT or actual.type == kind, f"{where}: type {kind} was expected, {actual.type} is there")
        right = same(dialect, expected["value"], actual.value, in_bin=True)
        check(right, f"{where}: {shown(expected['value'])} was expected, {shown(actual.value)} is there")
        values += 1
    return values


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 300 else f"{text[:300]}…"


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    read, compared, values, faults = Counter(), Counter(), Counter(), []
    with open(Path(sys.argv[1]) / "formats.jsonl", encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            name = line["format"]
            reader, dialect = FORMATS[name]
            try:
                record = reader(bytes.fromhex(line["body_hex"]), line["options"])
                read[name] += 1
                if line["expect"] is not None:
                    values[name] += compare(dialect, line["expect"], line["arrival_ms"], record)
                    compared[name] += 1
            except Exception as fault:  # whatever a reader raises is a finding
                faults.append(f"{name} {line['name']}: {type(fault).__name__}: {fault}")
    for fault in faults:
        print(f"WRONG {fault}", file=sys.stderr)
    for name in FORMATS:
        print(f"{name}: {read[name]} bodies read, {compared[name]} compared with the official client, {values[name]} values")
    missing = [name for name in FORMATS if compared[name] == 0]
    if missing:
        print(f"nothing was compared for: {', '.join(missing)}", file=sys.stderr)
    return 1 if faults or missing else 0


if __name__ == "__main__":
    sys.exit(main())
