"""The modules of a package as `ast` sees them: what each imports, and where. Nothing is imported to find out."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported module: `amqtask.core.topology` for `from amqtask.core.topology import Queue`."""

    target: str
    line: int
    in_function: bool
    for_types: bool
    """Within `if TYPE_CHECKING:`."""
    names: tuple[str, ...] = ()
    """What `from … import` takes out of it."""

    @property
    def package(self) -> str:
        """The outermost package."""
        return self.target.partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A parsed file."""

    name: str
    path: Path
    tree: ast.Module
    lines: int
    imports: tuple[Import, ...] = field(repr=False)

    def functions(self) -> Iterator[tuple[str, int]]:
        """Each function with its length in lines."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield node.name, node.end_lineno - node.lineno + 1

    def defined(self) -> set[str]:
        """The names bound at its top level."""
        names = set[str]()
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Assign):
                names.update(target.id for target in node.targets if isinstance(target, ast.Name))
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
        return names

    def strings(self) -> Iterator[tuple[str, int]]:
        """Each string literal with its line."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value, node.lineno


def read_package(folder: Path) -> dict[str, Module]:
    """The modules of a package by their dotted names, in order."""
    paths = {_name(path, folder.parent): path for path in sorted(folder.rglob("*.py"))}
    return {name: parse(path.read_text(), name, path=path, known=paths) for name, path in paths.items()}


def parse(source: str, name: str, *, path: Path = Path(), known: Mapping[str, object] | None = None) -> Module:
    """A module of its source; `known` tells submodules, which `from package import` may name, from other names."""
    tree = ast.parse(source)
    imports = tuple(_imports(tree, known or {}, in_function=False, for_types=False))
    return Module(name=name, path=path, tree=tree, lines=len(source.splitlines()), imports=imports)


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(node: ast.AST, known: Mapping[str, object], *, in_function: bool, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        inside = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        types = for_types or _is_type_checking(child)
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(target=alias.name, line=child.lineno, in_function=inside, for_types=types)
        elif isinstance(child, ast.ImportFrom):
            yield from _from_imports(child, known, in_function=inside, for_types=types)
        else:
            yield from _imports(child, known, in_function=inside, for_types=types)


def _from_imports(
    node: ast.ImportFrom, known: Mapping[str, object], *, in_function: bool, for_types: bool
) -> Iterator[Import]:
    # A relative import has no place in the house style; its dots make it a target that nothing allows.
    module = "." * node.level + (node.module or "")
    submodules = [alias.name for alias in node.names if f"{module}.{alias.name}" in known]
    names = tuple(alias.name for alias in node.names if alias.name not in submodules)
    targets = [(f"{module}.{name}", ()) for name in submodules] + ([(module, names)] if names else [])
    for target, taken in targets:
        yield Import(target=target, line=node.lineno, in_function=in_function, for_types=for_types, names=taken)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
