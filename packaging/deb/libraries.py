"""The libraries in the binary, one per line with licence and source, from `cargo metadata`."""

import json
import sys

metadata = json.load(sys.stdin)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
wanted = [one["id"] for one in packages.values() if one["name"] == "freehold" and not one["source"]]
seen = set()
while wanted:
    one = wanted.pop()
    if one not in seen:
        seen.add(one)
        # What only builds or tests it is not in it.
        wanted += [dep["pkg"] for dep in nodes[one]["deps"]
                   if any(kind["kind"] is None for kind in dep["dep_kinds"])]
for one in sorted((packages[one] for one in seen), key=lambda one: (one["name"], one["version"])):
    if one["source"]:
        licence = one["license"] or f"see {one['license_file']}"
        print(one["name"], one["version"], "|", licence, "|", one["repository"] or "https://crates.io/")
