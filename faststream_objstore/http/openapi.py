"""The routes of a bucket in an OpenAPI document."""

from typing import Any

from faststream_objstore.http.app import BucketASGI
from faststream_objstore.http.ttl import TTL_HEADER

__all__ = ("add_to_openapi",)

_BINARY = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
_ERRORS = {
    "403": "Not allowed",
    "404": "No such object",
    "410": "The object has been deleted",
    "412": "The object is not at the version that the condition names",
}


def add_to_openapi(document: dict[str, Any], path: str, bucket: BucketASGI) -> dict[str, Any]:
    """Add a bucket's routes to a document, unless they are already there.

    Args:
        document: The document, which is changed.
        path: Where the bucket is mounted.
        bucket: The bucket.
    """
    paths = document.setdefault("paths", {})
    paths[f"{path}/{{name}}"] = {
        "parameters": [
            {
                "name": "name",
                "in": "path",
                "required": True,
                "description": "The object's name; it may contain slashes.",
                "schema": {"type": "string"},
            }
        ],
        **{method.lower(): _operation(method, path, bucket) for method in bucket.methods},
    }
    if bucket.listing:
        paths[f"{path}/"] = {"get": _listing(path, bucket)}
    return document


def _operation(method: str, path: str, bucket: BucketASGI) -> dict[str, Any]:
    operation = {
        "tags": [bucket.bucket],
        "operationId": _operation_id(method.lower(), path),
        **_OPERATIONS[method],
    }
    operation["responses"] = {
        **operation["responses"],
        **{
            status: {"description": text, "content": {"application/problem+json": {}}}
            for status, text in _ERRORS.items()
        },
    }
    return operation


def _operation_id(what: str, path: str) -> str:
    return what + "".join(one if one.isalnum() else "_" for one in path)


def _header(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "description": description,
        "schema": {"type": "string"},
    }


_IF_MATCH = _header("If-Match", "The ETag of the version that may be changed")
_IF_NONE_MATCH = _header("If-None-Match", "An ETag that the client has; * for any")
_TTL = _header(TTL_HEADER, "How long the object lives: seconds, or as in 1h30m")
_READ = {
    "parameters": [_header("Range", "Bytes, such as bytes=0-1023"), _IF_NONE_MATCH],
    "responses": {
        "200": {"description": "The object", "content": _BINARY},
        "206": {"description": "The bytes that were asked for", "content": _BINARY},
        "304": {"description": "The client has this version"},
        "416": {"description": "There are no such bytes"},
    },
}
_OPERATIONS: dict[str, dict[str, Any]] = {
    "GET": {"summary": "Download an object", **_READ},
    "HEAD": {"summary": "What a download would say", **_READ},
    "PUT": {
        "summary": "Store an object",
        "parameters": [_IF_MATCH, _IF_NONE_MATCH, _TTL],
        "requestBody": {"required": True, "content": _BINARY},
        "responses": {
            "201": {"description": "Stored; there was none before"},
            "204": {"description": "Replaced"},
            "413": {"description": "Too large"},
        },
    },
    "DELETE": {
        "summary": "Delete an object",
        "parameters": [_IF_MATCH],
        "responses": {"204": {"description": "Deleted"}},
    },
}


def _listing(path: str, bucket: BucketASGI) -> dict[str, Any]:
    described = {
        "prefix": "Only names that begin with it",
        "delimiter": "Ends the name of a folder, such as /",
        "after": "What the last page has said",
        "limit": "Most objects and folders, 1000 at most",
    }
    entry = {
        "name": {"type": "string"},
        "size": {"type": "integer"},
        "etag": {"type": "string"},
        "modified": {"type": "string", "format": "date-time"},
    }
    page = {
        "type": "object",
        "properties": {
            "objects": {
                "type": "array",
                "items": {"type": "object", "properties": entry},
            },
            "folders": {"type": "array", "items": {"type": "string"}},
            "after": {"type": ["string", "null"]},
        },
    }
    return {
        "tags": [bucket.bucket],
        "operationId": _operation_id("list", path),
        "summary": "List objects and folders",
        "parameters": [
            {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
            for name, text in described.items()
        ],
        "responses": {
            "200": {
                "description": "A page",
                "content": {"application/json": {"schema": page}},
            }
        },
    }
