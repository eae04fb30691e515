"""The verb of `ObjectStore` that begins a transaction."""

from typing import TYPE_CHECKING

from .update import UpdateVerbs

if TYPE_CHECKING:
    from .transaction import Transaction

__all__ = ("TransactionVerbs",)


class TransactionVerbs(UpdateVerbs):
    """The method of `ObjectStore` that combines several changes into one."""

    def transaction(self) -> "Transaction":
        """Change several objects in one step: either all changes happen, or none.

        The bucket must have been created with `transactions=True`.

        Example:
            ```python
            async with store.transaction() as tx:
                await tx.put("parts/7.json", part)
                await tx.put("index.json", index, mode=seen)
                await tx.delete("old.json")
            ```

        Raises:
            FeatureNotEnabledError: On entering the block, if the bucket has no transactions.
        """
        # Few services use it; see `store/__init__.py`.
        from .transaction import Transaction  # noqa: PLC0415

        return Transaction(self)
