"""The modules of one job, apart from those of every other job in the process.

A job file imports what lies beside it by plain names (`import features`), and two jobs may each have a `features.py`.
So every job's modules live under a package of its own, `tidemill_job_<digest>`, and their imports of what lies beside
the job file are led there, also those that a function makes later. Whatever is not beside the job file is imported as
usual. The platform's packages and the standard library are never hidden by a file of the same name.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tidemill.state import digest

PLATFORM = frozenset({"tidemill", "connectors", "streams", "graph", "training", "serving", "tidemill_app"})
PREFIX = "tidemill_job_"


def beside(root: Path, name: str) -> Path | None:
    """The file that `import name` (dotted) stands for beside a job file in `root`; None where it is none of ours."""
    parts = name.split(".")
    if parts[0] in PLATFORM or parts[0] in sys.stdlib_module_names or not all(p.isidentifier() for p in parts):
        return None
    for package in range(1, len(parts)):
        if not (root.joinpath(*parts[:package]) / "__init__.py").is_file():
            return None
    package_file, module_file = root.joinpath(*parts, "__init__.py"), root.joinpath(*parts).with_suffix(".py")
    return next((file for file in (package_file, module_file) if file.is_file()), None)


def load(file: Path) -> ModuleType:
    """Run a job file in a namespace of its own; whatever it raises passes through.

    The same file loaded again runs anew; modules of the earlier run go on for those who hold them.
    """
    name = PREFIX + digest(str(file).encode())[:12]
    for old in [module for module in sys.modules if module == name or module.startswith(name + ".")]:
        del sys.modules[old]
    package = ModuleType(name)
    package.__path__ = [str(file.parent)]
    sys.modules[name] = package
    _FINDER.roots[name] = file.parent
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    # A folder's modules are found through a listing that Python keeps for a moment.
    importlib.invalidate_caches()
    inner = f"{name}.{file.stem.replace('.', '_')}"
    spec = importlib.util.spec_from_file_location(inner, file, loader=_Loader(inner, str(file), file.parent, name))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[inner] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[inner]
        raise
    return module


class _Loader(SourceFileLoader):
    """Runs a module with an `__import__` that looks beside the job file first."""

    def __init__(self, fullname: str, path: str, root: Path, package: str) -> None:
        super().__init__(fullname, path)
        self._root, self._package = root, package

    def get_code(self, fullname: str) -> CodeType:
        # Bytecode kept by Python is told from its source by size and second, which a quick edit leaves alike.
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        own = dict(vars(builtins))
        own["__import__"] = _importing(self._root, self._package)
        module.__dict__["__builtins__"] = own
        super().exec_module(module)


class _Finder(MetaPathFinder):
    """Finds the modules of the namespaces there are, and nothing else."""

    def __init__(self) -> None:
        self.roots: dict[str, Path] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package = fullname.partition(".")[0]
        root = self.roots.get(package)
        found = PathFinder.find_spec(fullname, path, target) if root is not None else None
        if root is not None and found is not None and isinstance(found.loader, SourceFileLoader):
            found.loader = _Loader(fullname, found.loader.path, root, package)
        return found


_FINDER = _Finder()


def _importing(root: Path, package: str) -> Callable[..., ModuleType]:
    def import_(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or beside(root, top) is None:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        try:
            found = builtins.__import__(f"{package}.{name}", globals, locals, fromlist or (), 0)
        except ModuleNotFoundError as error:
            if error.name is not None and error.name.startswith(package + "."):
                # Said as the author wrote it.
                own = error.name.removeprefix(package + ".")
                raise ModuleNotFoundError(f"No module named {own!r}", name=own) from None
            raise
        # `import a.b` binds `a`, `from a import b` is given `a`.
        return found if fromlist else sys.modules[f"{package}.{top}"]

    return import_
