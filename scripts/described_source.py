"""Describes classes and functions in Markdown, by their docstrings and the source of their annotations.

Annotations are not evaluated, since versions of Python show them differently.
"""

import ast
import inspect
import re
import sys
import types
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any

from markdown_text import plain, table


def describe(name: str, thing: object) -> Iterator[str]:
    """Yields the description of an exported name: heading, docstrings, signatures and attributes."""
    yield from ["", f"## {name}", ""]
    if inspect.isfunction(thing):
        yield from [*_signature(name, _definition(thing)), "", *prose(thing)]
    elif isinstance(thing, type) and issubclass(thing, StrEnum):
        docs = member_docs(thing)
        rows = [[f"`{each.name}`", f"`{each.value}`", plain(docs.get(each.name))] for each in thing]
        yield from [*prose(thing), "", *table(["member", "value", "meaning"], rows)]
    elif isinstance(thing, type) and not issubclass(thing, BaseException):
        yield from _class(name, thing)
    elif isinstance(thing, types.ModuleType | type):
        yield from prose(thing)
    else:
        yield f"Is {_article(type(thing).__name__)}."


def _class(name: str, cls: type) -> Iterator[str]:
    """Yields the constructor, where the docstring has its arguments, tables of attributes, and methods."""
    nodes, docs = {node.name: node for node in _functions(cls)}, member_docs(cls)
    constructor = nodes.pop("__init__", None)
    is_made_by_users = constructor is not None and "Args:" in (cls.__doc__ or "")
    yield from [*_signature(name, constructor), ""] if constructor and is_made_by_users else []
    yield from prose(cls)
    attributes = [[f"`{key}`", f"`{hint}`", plain(docs.get(key))] for key, hint in _attributes(cls).items()]
    properties = [
        [f"`{key}`", f"`{_annotation(node.returns)}`", first_paragraph(ast.get_docstring(node))]
        for key, node in nodes.items()
        if _is_property(node)
    ]
    for kind, rows in (("attribute", attributes), ("property", properties)):
        yield from ["", *table([kind, "type", "meaning"], rows)] if rows else []
    for key, node in nodes.items():
        if not _is_property(node):
            title = f"{name.rpartition('.')[2]}.{key}"
            yield from ["", f"### {title}", "", *_signature(title, node), ""]
            yield from _docstring(ast.get_docstring(node) or "")


def _functions(cls: type) -> list[ast.FunctionDef]:
    """Returns public methods and properties, and an explicit constructor, inherited ones included."""
    found: dict[str, ast.FunctionDef] = {}
    for each in _own_bases(cls):
        for node in getattr(_definition(each), "body", []):
            is_public = isinstance(node, ast.FunctionDef) and (
                not node.name.startswith("_") or node.name == "__init__"
            )
            if is_public and not _is_overload_or_setter(node):
                found[node.name] = node
    return list(found.values())


def _attributes(cls: type) -> dict[str, str]:
    """Returns annotated attributes with the source of their annotations and defaults."""
    return {
        node.target.id: ast.unparse(node.annotation) + _default_value(node.value)
        for each in _own_bases(cls)
        for node in getattr(_definition(each), "body", [])
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and not node.target.id.startswith("_")
    }


def _own_bases(cls: type) -> list[type]:
    """Returns the class and its bases in our packages, the class last."""
    return [each for each in reversed(cls.__mro__) if each.__module__.startswith("lookalike")]


def _is_property(node: ast.FunctionDef) -> bool:
    return any(ast.unparse(each) in ("property", "cached_property") for each in node.decorator_list)


def _is_overload_or_setter(node: ast.FunctionDef) -> bool:
    return any(ast.unparse(each).endswith(("overload", ".setter")) for each in node.decorator_list)


def _default_value(node: ast.expr | None) -> str:
    return "" if node is None or isinstance(node, ast.Call) else f" = {ast.unparse(node)}"


def _signature(name: str, node: ast.FunctionDef) -> list[str]:
    """Returns a signature, with each parameter on its own line where one line would be too long."""
    parameters = [each for each in _parameters(node.args) if each not in ("self", "cls")]
    returns = f" -> {_annotation(node.returns)}" if node.returns and node.name != "__init__" else ""
    line = f"{name}({', '.join(parameters)}){returns}"
    if len(line) > _LINE:
        line = "\n".join([f"{name}(", *(f"    {each}," for each in parameters), f"){returns}"])
    return ["```python", line, "```"]


_LINE = 100


def _parameters(found: ast.arguments) -> Iterator[str]:
    positional = [*found.posonlyargs, *found.args]
    defaults = [None] * (len(positional) - len(found.defaults)) + list(found.defaults)
    for number, (each, default) in enumerate(zip(positional, defaults, strict=True), start=1):
        yield _parameter(each, default)
        if number == len(found.posonlyargs):
            yield "/"
    if found.vararg or found.kwonlyargs:
        yield f"*{_parameter(found.vararg, None) if found.vararg else ''}"
    yield from map(_parameter, found.kwonlyargs, found.kw_defaults)
    if found.kwarg:
        yield f"**{_parameter(found.kwarg, None)}"


def _parameter(node: ast.arg, default: ast.expr | None) -> str:
    hint = f": {_annotation(node.annotation)}" if node.annotation else ""
    equals = " = " if hint else "="
    return f"{node.arg}{hint}{equals}{ast.unparse(default)}" if default else f"{node.arg}{hint}"


def _annotation(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ast.unparse(node) if node else ""


def member_docs(cls: type) -> dict[str, str]:
    """Returns attribute -> the string below it in the class or in one of its bases."""
    node, module = _definition(cls), sys.modules[cls.__module__]
    docs: dict[str, str] = {}
    if not isinstance(node, ast.ClassDef):
        return docs
    for base in node.bases:
        value = vars(module).get(base.id) if isinstance(base, ast.Name) else None
        if isinstance(value, type) and value.__module__.startswith("lookalike"):
            docs |= member_docs(value)
    return docs | _docs_below(node.body)


def alias_docs(module: str) -> dict[str, str]:
    """Returns type alias -> the string below it in a module."""
    body = ast.parse(inspect.getsource(import_module(module))).body
    aliases = {
        node.target.id
        for node in body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and ast.unparse(node.annotation) == "TypeAlias"
    }
    return {name: text for name, text in _docs_below(body).items() if name in aliases}


def _docs_below(body: list[ast.stmt]) -> dict[str, str]:
    """Returns assigned name -> the string in the next statement."""
    return {
        name: inspect.cleandoc(str(below.value.value))
        for member, below in pairwise(body)
        if (name := _assigned(member))
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
    }


def _assigned(node: ast.stmt) -> str | None:
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) else None


def _definition(thing: Any) -> Any:  # noqa: ANN401 - a node of ast
    """Returns the syntax tree of a class or function."""
    *_, name = thing.__qualname__.split(".")
    return _definitions(thing.__module__).get(name)


@cache
def _definitions(module: str) -> dict[str, ast.stmt]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def prose(thing: Any) -> list[str]:  # noqa: ANN401 - what has a docstring
    """Returns the docstring of a module, class or function as lines of Markdown."""
    return _docstring(inspect.cleandoc(thing.__doc__ or ""))


def _docstring(text: str) -> list[str]:
    """Returns a docstring in Google's form as Markdown: sections become lists, examples code."""
    lines: list[str] = []
    in_section = False
    for line in re.sub(_DRAWING, r"```\n\g<0>\n```", text).split("\n"):
        section = re.fullmatch(r"(Args|Returns|Raises|Yields|Attributes|Example|Examples):", line)
        if section:
            in_section = not section[1].startswith("Example")
            lines += [f"**{section[1]}**", ""]
        elif in_section and re.match(r"    \S", line):
            name, colon, meaning = line.strip().partition(": ")
            is_item = colon and re.fullmatch(r"[\w., *]+", name)
            lines.append(f"- `{name}`: {meaning}" if is_item else line.strip())
        else:
            lines.append(f"  {line.strip()}" if in_section and line.strip() else line)
    return lines


_DRAWING = re.compile(r"^.*\n[├└│].*(?:\n[├└│].*)*", re.MULTILINE)
"""A tree drawn with lines, with its root, which is not indented like code."""


def first_paragraph(docstring: str | None) -> str:
    """Returns the first paragraph of a docstring, on one line."""
    return plain(inspect.cleandoc(docstring or "").partition("\n\n")[0])


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} `{noun}`"
