"""Importing what the user names: a module that is missing and one that fails to import are told apart."""

import importlib
import sys
from difflib import get_close_matches
from types import ModuleType
from typing import TYPE_CHECKING

from amqtask.errors import AppImportFailed, AppNotFound

if TYPE_CHECKING:
    from amqtask.app import App


def import_module(name: str) -> ModuleType:
    """Import a module by its dotted name.

    Raises:
        AppNotFound: there is no such module.
        AppImportFailed: there is one, and it raised while it was imported; the cause is that exception.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The missing module is the named one, or a package that it is in; anything else was missed by its own code.
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise AppNotFound(
                f"no module {name!r} (looked in the working folder and in the Python path; {error})"
            ) from error
        raise AppImportFailed(f"importing {name!r} failed: {error}") from error
    except Exception as error:
        raise AppImportFailed(f"importing {name!r} failed: {type(error).__name__}: {error}") from error


def find_app(path: str, folder: str = ".") -> "App":
    """The app that `pkg.mod:attribute` names; without an attribute `app`, or the only App of the module.

    `folder` goes in front of the Python path, as for `python -m`.

    Raises:
        AppNotFound: no such module or attribute, or it is no App.
        AppImportFailed: the module raised while it was imported.
    """
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name, _, attribute = path.partition(":")
    if not name:
        raise AppNotFound(f"{path!r} names no module; write it as package.module:app")
    module = import_module(name)
    if attribute:
        return _attribute(module, name, attribute)
    found = [key for key, value in vars(module).items() if _is_app(value)]
    if "app" in found:
        return _attribute(module, name, "app")
    if len({id(getattr(module, key)) for key in found}) == 1:
        return _attribute(module, name, found[0])
    several = f"it has several: {', '.join(found)}" if found else "it has none"
    raise AppNotFound(f"which App of module {name!r}? {several}; write {name}:attribute")


def _attribute(module: ModuleType, name: str, attribute: str) -> "App":
    value: object = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            apps = [key for key, item in vars(module).items() if _is_app(item)]
            near = get_close_matches(attribute, apps, n=1, cutoff=0.0)
            hint = f"; did you mean {name}:{near[0]}?" if near else ""
            raise AppNotFound(f"module {name!r} has no {attribute!r}{hint}")
        value = getattr(value, part)
    if not _is_app(value):
        raise AppNotFound(f"{name}:{attribute} is a {type(value).__name__}, not an App")
    app: App = value  # type: ignore[assignment]
    return app


def _is_app(value: object) -> bool:
    # By name, because the class itself is imported by users' modules, never here: this file is below it.
    return any(kind.__module__ == "amqtask.app" and kind.__name__ == "App" for kind in type(value).__mro__)
