"""Modules that a library imports and nobody here uses: imported once something in them is asked for.

`importlib.util.LazyLoader` does not do: the next `import` of such a module, which looks at it, loads it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def defer(module: str) -> None:
    """`import module` costs nothing from now on, until something in it is asked for."""
    if module not in sys.modules:
        sys.modules[module] = deferred = _Deferred(module)
        package, _, name = module.rpartition(".")
        if package:  # whose attribute it is, as importing it would have made it
            setattr(import_module(package), name, deferred)
