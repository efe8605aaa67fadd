"""A module to import in a rehearsal: what a small function is to the importer."""
import json


def handler(event, context):
    return json
