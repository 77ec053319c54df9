#!/usr/bin/env python3
"""Holds `ringpost schema` against files that `ringpost check` knows, with an independent validator.

    python3 -m venv VENV && VENV/bin/pip install jsonschema==4.26.0 PyYAML==6.0.4
    cargo build --bin ringpost
    VENV/bin/python tests/python/check_schema.py target/debug/ringpost

Every example, official file and file that is accepted with warnings passes. Files with one mistake do not: the table
below, an unknown key in every closed section, and a section in place of every value.
"""

import copy
import json
import pathlib
import subprocess
import sys

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOOD = ["examples", "tests/data/config/official", "tests/data/config/warnings"]
# Invalid files whose mistakes are of the shape, so that an editor shows them, too.
BAD = [
    "unknown-keys", "wrong-types", "protocol-words", "out-of-range", "missing", "routing-mode", "levels-java",
    "bin-transforms", "batching", "headers-sources", "answers",
]

# Path in examples/all-settings.yml, and a value that is wrong there.
WRONG = [
    ("service.port", 0), ("service.port", 65536), ("service.port", []), ("service.port", "8901"),
    ("service.port", [8901, 8901]), ("service.protocol", "HTTP_2"), ("service.max-concurrent-records", 0),
    ("service.socket-receive-buffer-bytes", "64KiB"), ("destinations.billing.urls", "ftp://h/"),
    ("destinations.billing.urls", []), ("destinations.billing.urls", "http://me:secret@h/"),
    ("destinations.billing.protocol", "HTTP/2"), ("destinations.billing.call-timeout", "1s"),
    ("destinations.billing.call-timeout", 0), ("destinations.billing.compression", "deflate"),
    ("destinations.billing.compression-threshold", "1KB"),
    ("destinations.billing.permanent-status-codes", [100]), ("destinations.billing.headers.x-source", 5),
    ("destinations.billing.headers.x-source", True), ("destinations.billing.headers.x-namespace", {"source": "x"}),
    ("destinations.billing.headers.x-namespace", {"name": "A"}), ("destinations.billing.headers", {"x y": "a"}),
    ("routing.mode", "multi"), ("routing", {"mode": "static-multi-destination"}),
    ("format", {"mode": "flat-json"}), ("format", {"mode": "avro"}),
    ("bin-transforms.include", {"type": "specified"}),
    ("destinations.billing.headers.x-namespace", {"source": "bin-value"}),
    ("destinations.billing.headers.x-namespace", {"source": "env"}),
    ("destinations.billing.headers.x-namespace", {"source": "file"}),
    ("routing.destinations", []), ("routing", "skip"), ("format", "flatjson"), ("format.mode", "custom"),
    ("format.metadata-key", 5), ("format.metadata-key", " "), ("format.stringify-map-keys", "yes"),
    ("format.non-finite-floats", "nan"), ("format.invalid-utf8", "keep"), ("format.schema", {"type": "map"}),
    ("bin-transforms.include", {}), ("bin-transforms.include", "all"), ("bin-transforms.exclude.type", "some"),
    ("bin-transforms.map", {"a": 5}), ("bin-transforms.transforms", ["lower"]),
    ("bin-transforms.transforms", [{"regex": {"pattern": "a"}}]), ("bin-transforms.transforms", [{"regexp": {}}]),
    ("batching.enabled", "yes"), ("batching.max-bytes", 0), ("batching.max-records", 2147483648),
    ("batching.batch-interval", 0), ("batching.body", "lines"), ("namespaces.users.sets.scratch", "skip"),
    ("namespaces.users.format", {"metadata-key": "m"}), ("port-based-config", {"http": {}}),
    ("port-based-config", {"0": {}}), ("content-errors", "retry"), ("rejected-file", 5),
    ("rejected-file-max-bytes", 1), ("logging.levels.root", "verbose"), ("logging.format", "text"),
    ("executors.cores", 0), ("executors.cores", "2-"), ("executors.in-flight-bytes", "256MB"),
    ("executors.busy-poll", 5), ("limits.record-deadline", "7"), ("limits.record-deadline", 7),
    ("limits.max-depth", 0), ("custom-transformer", {"class": "com.example.T"}),
]


def text_keys(value):
    """As editors read YAML into JSON: every key is text."""
    if isinstance(value, dict):
        return {str(key): text_keys(member) for key, member in value.items()}
    if isinstance(value, list):
        return [text_keys(member) for member in value]
    return value


def load(path):
    return text_keys(yaml.safe_load(path.read_text()))


def put(document, path, value):
    *sections, last = path
    for step in sections:
        document = document[step]
    document[last] = value


def paths(value, path=()):
    """Every value below `value` that has a key."""
    for key, member in value.items() if isinstance(value, dict) else ():
        yield path + (key,)
        yield from paths(member, path + (key,))


# Sections whose keys are names of the user's own.
FREE = {"destinations", "headers", "map", "levels", "namespaces", "sets", "port-based-config"}


def main(binary):
    schema = json.loads(subprocess.run([binary, "schema"], check=True, capture_output=True, text=True).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    faults, tried = [], {"accepted": 0, "refused": 0}

    def accept(what, document):
        tried["accepted"] += 1
        for error in validator.iter_errors(document):
            faults.append(f"{what}: {error.json_path}: {error.message[:200]}")

    def refuse(what, document):
        tried["refused"] += 1
        if validator.is_valid(document):
            faults.append(f"{what}: is accepted")

    for folder in GOOD:
        files = sorted((ROOT / folder).glob("*.yml"))
        assert files, folder
        for file in files:
            accept(file.name, load(file))
    for name in BAD:
        refuse(name, load(ROOT / "examples/invalid" / f"{name}.yml"))
    good = load(ROOT / "examples/all-settings.yml")
    for path, value in WRONG:
        document = copy.deepcopy(good)
        put(document, path.split("."), value)
        refuse(f"{path}: {value!r}", document)
    for path in paths(good):
        document = copy.deepcopy(good)
        put(document, path, {"no-such-key": {"a": []}})
        refuse(f"a section at {'.'.join(path)}", document)
        section = good
        for step in path:
            section = section[step]
        if isinstance(section, dict) and path[-1] not in FREE:
            document = copy.deepcopy(good)
            put(document, path + ("no-such-key",), 1)
            refuse(f"an unknown key in {'.'.join(path)}", document)
    refuse("an unknown key at the top", {**good, "no-such-key": 1})

    print("\n".join(faults + [f"{tried['accepted']} files accepted, {tried['refused']} with a mistake, "
                              f"{len(faults)} faults"]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
