"""The verbs that write a bucket to a tar archive and read it back.

The code that does it is imported at its first use, because it needs `tarfile`, and few
services dump or restore.
"""

import asyncio
import io
import os
from os import PathLike
from typing import IO, TYPE_CHECKING, cast

from ..exceptions import BulkError, InvalidOptionError
from ..models import BulkResult
from .arguments import path_of, require_progress
from .files import beside
from .handle import StoreHandle
from .modes import RestoreMode
from .put import Progress

if TYPE_CHECKING:
    from .store import ObjectStore

__all__ = ("DumpVerbs",)


class DumpVerbs(StoreHandle):
    """The methods of `ObjectStore` that write it to a file and read it back."""

    async def dump(
        self, target: str | PathLike[str] | IO[bytes], *, progress: Progress | None = None
    ) -> BulkResult:
        """Write all objects, with their metadata, links and settings, to a tar archive.

        Each object is one version, complete and verified; objects that change during the dump
        are included as they were when they were read. Memory use is constant; the largest
        object must fit on the disk that holds temporary files. Of a bucket that follows
        others, what has arrived is dumped, with a warning if that may not be all.

        Args:
            target: A path, which appears when the dump is complete, compressed if it ends with
                `.gz` or `.tgz`; or a file that is open for binary writing.
            progress: Called with the number of objects done, and the total.

        Returns:
            What was dumped.

        Raises:
            OSError: If the file cannot be written.
            BulkError: If some objects could not be read; the others are in the dump.

        Example:
            ```python
            await store.dump("photos.tar")
            ```
        """
        from .dump import Dump  # noqa: PLC0415 - see the top of this file

        require_progress(self._bucket, progress)
        store = cast("ObjectStore", self)
        if not isinstance(target, (str, PathLike)):
            if not _is_binary(target, "write"):
                self._refuse(f"{target!r} is neither a path nor a binary file to write to")
            return await Dump(store, target, "", None).run(progress)
        path = path_of(self._bucket, "target", target)
        # One of its own: another dump to the same path may be running.
        temporary, descriptor = beside(path)
        failed: BulkError | None = None
        try:
            with os.fdopen(descriptor, "wb") as file:
                compression = "gz" if path.suffix in {".gz", ".tgz"} else ""
                try:
                    result = await Dump(store, file, compression, path.parent).run(progress)
                except BulkError as error:
                    failed, result = error, error.result
            await asyncio.to_thread(temporary.replace, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if failed is not None:
            raise failed
        return result

    async def restore(
        self,
        source: str | PathLike[str] | IO[bytes],
        *,
        mode: RestoreMode = "create",
        progress: Progress | None = None,
    ) -> BulkResult:
        """Put the objects of a dump into this bucket, verified.

        An object whose content does not match the dump's description is not put. Links come
        last. Objects with a `ttl` expire when they would have; those that have expired are
        left out, with a warning. If this bucket has no `object_ttl`, they stay, with a warning
        that says how many. Whatever the file contains, only objects of this bucket are
        written.

        Args:
            source: A path, or a file that is open for binary reading; compressed or not.
            mode: What to do about existing objects: `"create"` fails for them, `"overwrite"`
                replaces them, `"missing"` keeps them.
            progress: Called with the number of objects done, and the total.

        Returns:
            What was put; with `"missing"`, existing objects are in `unchanged`.

        Raises:
            InvalidDumpError: If it is not a dump, or if it is cut off; what precedes that
                point has been put.
            BulkError: If some objects could not be put.
        """
        if mode not in ("create", "overwrite", "missing"):
            self._refuse(f'mode must be "create", "overwrite" or "missing", got {mode!r}')
        require_progress(self._bucket, progress)
        if isinstance(source, (str, PathLike)):
            source = path_of(self._bucket, "source", source)
        elif not _is_binary(source, "read"):
            self._refuse(f"{source!r} is neither a path nor a binary file to read from")
        from .dumped import reading  # noqa: PLC0415 - see the top of this file
        from .restore import Restore  # noqa: PLC0415 - as above

        # One error for a bucket that follows another, instead of one for each object.
        await self._target()
        async with reading(source) as tar:
            return await Restore(cast("ObjectStore", self), tar, mode).run(progress)

    def _refuse(self, problem: str) -> None:
        msg = f"Bucket '{self._bucket}': {problem}."
        raise InvalidOptionError(msg, bucket=self._bucket)


def _is_binary(file: object, method: str) -> bool:
    return callable(getattr(file, method, None)) and not isinstance(file, io.TextIOBase)
