"""Names that a package imports when they are first asked for (PEP 562).

Every start of a service imports this package, and declaring buckets takes few of its modules.
What a service needs once it has connected is imported then, so that no message waits for it.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ("lazy_names",)


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the functions `__getattr__` and `__dir__` of a package.

    Type checkers must not see them, or any name would do; they see imports instead:

    ```python
    if TYPE_CHECKING:
        from .status import ObjectStoreStatus
    else:
        __getattr__, __dir__ = lazy_names(__name__, {"ObjectStoreStatus": "status"})
    ```

    Args:
        package: The name of the package.
        homes: The module of each name, within the package.

    Returns:
        The two functions.
    """
    namespace = vars(sys.modules[package])

    def get(name: str) -> Any:
        if name not in homes:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        value = getattr(import_module(f"{package}.{homes[name]}"), name)
        # It is not asked for again.
        namespace[name] = value
        return value

    def names() -> list[str]:
        return sorted({*namespace, *homes})

    return get, names
