"""The keys of channels in an AsyncAPI document: those that would look alike are numbered."""

from collections.abc import Callable, Sequence

__all__ = ("OwnChannel",)


class OwnChannel:
    """A specification with a channel of its own; a base class beside FastStream's.

    FastStream would put two channels with one key into the same place, where the second
    replaces the first. AsyncAPI turns `/` into `.` in keys, so those look alike too.

    Attributes:
        siblings: Returns the bucket's specifications of this kind, in the order of their
            declaration.
    """

    siblings: "Callable[[], Sequence[OwnChannel]]"

    @property
    def own_key(self) -> str:
        """The key that it would have alone."""
        raise NotImplementedError

    @property
    def channel_key(self) -> str:
        """Its key, with a number if a sibling before it looks alike."""
        key = self.own_key
        alike = [one for one in self.siblings() if _plain(one.own_key) == _plain(key)]
        number = alike.index(self) + 1 if self in alike else 1
        return key if number == 1 else f"{key} {number}"


def _plain(key: str) -> str:
    return key.replace("/", ".")
