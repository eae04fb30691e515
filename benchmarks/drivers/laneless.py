"""This package without its second connection, to see what that one is worth."""

from benchmarks.drivers.objstore import Objstore
from benchmarks.drivers.protocol import serve
from faststream_objstore import ObjectStore


class Laneless(Objstore):
    """faststream-objstore with `lane=False`."""

    async def open(self, bucket: str) -> ObjectStore:
        """The store, on the broker's connection alone."""
        return await ObjectStore.bind(self._connection, bucket, lane=False)


if __name__ == "__main__":
    serve(Laneless())
