"""The console: a page that shows buckets, their objects, and how subscribers get on."""

from faststream_objstore.http.console.app import ConsoleASGI, make_console_asgi

__all__ = ("ConsoleASGI", "make_console_asgi")
