"""A bucket's own state: its settings and size, and sealing it."""

from datetime import timedelta
from typing import TYPE_CHECKING

from .. import wire
from ..backends.base import Backend, StreamState
from .listing import ListVerbs

if TYPE_CHECKING:
    from ..models import ObjectStoreStatus

__all__ = ("StatusVerbs",)


class StatusVerbs(ListVerbs):
    """The verbs of `ObjectStore` for the bucket as a whole."""

    async def status(self, *, count: bool = True) -> "ObjectStoreStatus":
        """Get the bucket's settings and size, and the number of its objects.

        Args:
            count: Count the objects, which reads the metadata of each. With `False` the
                call is a single request, however large the bucket is, and the result's
                `count` is `None`.

        Returns:
            The bucket's status.

        Raises:
            OriginRecreatedError: If it follows a bucket that was deleted and made anew.
        """
        from .lag import lag_of  # noqa: PLC0415 - see `store/__init__.py`

        backend = await self._source()
        state = await backend.state()
        objects = len(await self.list()) if count else None
        lag = await lag_of(backend, state) if backend.origins else None
        return self._status_of(backend, state, count=objects, lag=lag)

    def _status_of(
        self,
        backend: Backend,
        state: StreamState,
        *,
        count: int | None = None,
        lag: int | None = None,
    ) -> "ObjectStoreStatus":
        """What the state of its stream says about the bucket."""
        from ..models import ObjectStoreStatus  # noqa: PLC0415 - see `store/__init__.py`

        config = wire.config_of(state.config)
        return ObjectStoreStatus(
            bucket=self._bucket,
            description=config.description or None,
            ttl=config.ttl if isinstance(config.ttl, timedelta) and config.ttl else None,
            storage=config.storage or "file",
            replicas=config.replicas or 1,
            sealed=bool(state.config.get("sealed")),
            size=state.bytes,
            count=count,
            backing_store=backend.name,
            compressed=bool(config.compression),
            metadata=dict(config.metadata or {}),
            max_bytes=config.max_bytes if (config.max_bytes or -1) > 0 else None,
            keep_replaced=wire.keep_replaced(state.config.get("metadata") or {}) or None,
            transactions=bool(config.transactions),
            object_ttl=(
                config.object_ttl if isinstance(config.object_ttl, timedelta) else None
            )
            or None,
            origins=config.origins,
            lag=lag,
        )

    async def seal(self) -> bool:
        """Make the bucket permanently read-only. This cannot be undone.

        Returns:
            `True`, as in nats-py.
        """
        backend = await self._target()
        await backend.seal()
        return True
