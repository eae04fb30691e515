"""The file in a form's body (RFC 7578), without keeping the form in memory or on disk."""

import re
from collections import deque
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Any

from faststream_objstore.http.problems import refusal, too_large

try:
    from python_multipart import MultipartParser
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import parse_options_header
except ImportError as _error:  # pragma: no cover
    _msg = "Uploads from forms need python-multipart: pip install 'faststream-objstore[http]'."
    raise ImportError(_msg) from _error

__all__ = ("FilePart",)

# The maximum size of the form's other fields together, and of the headers of all parts.
_FIELDS_BYTES = 1024 * 1024
_HEADERS_BYTES = 64 * 1024


class FilePart:
    """The one part of a form that is a file.

    Args:
        body: The body of the request.
        boundary: The boundary between its parts.
        max_size: The largest file, in bytes.
    """

    def __init__(
        self, body: AsyncGenerator[bytes, None], boundary: str, max_size: int | None
    ) -> None:
        self._body = body
        self._max_size = max_size
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._fields = self._head = 0
        self._has_file = False
        self._in_file = False
        self._is_complete = False
        self._is_second = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._field = self._value = b""
        self.filename: str | None = None
        self.content_type: str | None = None
        try:
            self._parser = MultipartParser(
                boundary.encode("latin-1"),
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            raise _malformed() from None

    async def begin(self) -> None:
        """Read up to the file; its name and type are then known.

        Raises:
            HTTPException: 400 if there is none.
        """
        while not self._has_file:
            if self._is_complete or not await self._read():
                raise refusal(HTTPStatus.BAD_REQUEST, "The form has no file.")

    async def content(self) -> AsyncGenerator[bytes, None]:
        """The file's content; raises an error if the form ends before the file does."""
        while True:
            while self._pieces:
                yield self._pieces.popleft()
            if not await self._read():
                break
        if not self._is_complete:
            raise _malformed()

    async def _read(self) -> bool:
        piece = await anext(self._body, None)
        if piece is None:
            return False
        try:
            self._parser.write(piece)
        except FormParserError:
            raise _malformed() from None
        if self._is_second:
            raise refusal(HTTPStatus.BAD_REQUEST, "The form has more than one file.")
        if self._max_size is not None and self._size > self._max_size:
            raise too_large(self._max_size)
        if self._fields > _FIELDS_BYTES:
            raise too_large(_FIELDS_BYTES)
        if self._head > _HEADERS_BYTES:
            raise _malformed()
        return True

    def _begin_part(self) -> None:
        self._headers = []

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._head += end - start
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._head += end - start
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers.append((self._field.lower(), self._value))
        self._field = self._value = b""

    def _headers_finished(self) -> None:
        headers = dict(self._headers)
        _, options = parse_options_header(headers.get(b"content-disposition", b""))
        filename = _text(options.get(b"filename"))
        # A file field without a selected file has an empty filename.
        self._in_file = bool(filename)
        if not self._in_file:
            return
        if self._has_file:
            self._is_second = True
            return
        self._has_file = True
        self.filename = re.split(r"[/\\]", filename or "")[-1]
        self.content_type = _text(headers.get(b"content-type"))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file and not self._is_second:
            self._size += end - start
            self._pieces.append(data[start:end])
        else:
            self._fields += end - start

    def _end_part(self) -> None:
        self._in_file = False

    def _end(self) -> None:
        self._is_complete = True


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text: str = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return text


def _malformed() -> Exception:
    return refusal(HTTPStatus.BAD_REQUEST, "The form is malformed, or broke off.")
