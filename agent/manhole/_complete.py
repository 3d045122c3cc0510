# SPDX-License-Identifier: BSD-2-Clause
"""What could follow a text at the prompt. Runs no code of the application: attributes are looked up where
they are kept, and a property, a __getattr__ or a __dir__ ends the search."""
import builtins
import keyword
import sys
import types

MATCHES_MAX = 200
NAME_MAX = 200
# Of the text, from its end.
TEXT_MAX = 4096

_MISSING = object()
_mro = type.__dict__["__mro__"].__get__
_class_dict = type.__dict__["__dict__"].__get__
_module_dict = types.ModuleType.__dict__["__dict__"].__get__
# Attributes of these kinds are read by the interpreter itself.
_NATIVE = (types.MemberDescriptorType, types.GetSetDescriptorType)


def _in_classes(classes, name):
    for cls in classes:
        value = _class_dict(cls).get(name, _MISSING)
        if value is not _MISSING:
            return value
    return _MISSING


def _own_dict(obj):
    """An object's own attributes, or an empty dict."""
    if issubclass(type(obj), type):
        return {}
    if issubclass(type(obj), types.ModuleType):
        return _module_dict(obj)
    getter = _in_classes(_mro(type(obj)), "__dict__")
    if type(getter) is not types.GetSetDescriptorType:
        return {}
    own = getter.__get__(obj)
    return own if type(own) is dict else {}


def _classes(obj):
    """Where attributes are that are not its own, in order."""
    return _mro(obj) if issubclass(type(obj), type) else _mro(type(obj))


def _attribute(obj, name):
    """Its value, or _MISSING where only code could tell."""
    if _in_classes(_mro(type(obj)), "__getattribute__") not in (
        object.__getattribute__, type.__getattribute__, types.ModuleType.__getattribute__,
    ):
        return _MISSING
    value = _own_dict(obj).get(name, _MISSING)
    kept = _in_classes(_classes(obj), name)
    if kept is _MISSING and issubclass(type(obj), type):
        kept = _in_classes(_mro(type(obj)), name)
    if type(kept) in _NATIVE and kept is not value:
        try:
            return kept.__get__(obj)
        except Exception:
            return _MISSING
    kind = _mro(type(kept))
    if kept is not _MISSING and _in_classes(kind, "__get__") is not _MISSING:
        if _in_classes(kind, "__set__") is not _MISSING or value is _MISSING:
            # A function has attributes of its own; what another descriptor makes of it is not known.
            return kept if type(kept) in (types.FunctionType, types.BuiltinFunctionType) else _MISSING
    return kept if value is _MISSING else value


def _attribute_names(obj):
    names = set(_own_dict(obj))
    for cls in _classes(obj):
        names.update(_class_dict(cls))
    return names


def _follow(path, namespace):
    """The object that a dotted name stands for, or _MISSING."""
    obj = namespace.get(path[0], _MISSING)
    if obj is _MISSING:
        obj = vars(builtins).get(path[0], _MISSING)
    for name in path[1:]:
        if obj is _MISSING:
            break
        obj = _attribute(obj, name)
    return obj


def _modules(prefix):
    """What may follow in the name of a module that is loaded."""
    return {name[len(prefix):].partition(".")[0] for name in list(sys.modules)
            if type(name) is str and name.startswith(prefix)}


def _imports(line, path):
    """For a line that imports: what may stand there, else None."""
    words = line.split()
    if not words or words[0] not in ("import", "from") or line[len(words[0]):][:1] not in (" ", "\t"):
        return None
    if words[0] == "from" and "import" in words[1:]:
        module = sys.modules.get(words[1])
        return () if module is None or path else _attribute_names(module)
    return _modules("".join(part + "." for part in path))


def _candidates(line, path, namespace):
    names = _imports(line, path)
    if names is not None:
        return names
    if not path:
        return set(keyword.kwlist) | set(namespace) | set(vars(builtins))
    obj = _follow(path, namespace)
    return () if obj is _MISSING else _attribute_names(obj)


def complete(text, namespace):
    """Where the name begins that is being typed, in bytes; what it may become; whether that is not all."""
    line = text.rpartition("\n")[2][-TEXT_MAX:]
    begin = len(line)
    while begin > 0 and (line[begin - 1].isidentifier() or line[begin - 1].isdigit() or line[begin - 1] == "."):
        begin -= 1
    *path, prefix = line[begin:].split(".")
    start = len(text[: len(text) - len(prefix)].encode("utf-8", "surrogatepass"))
    # Behind a call, an index or a literal it is not known what there is.
    if not all(name.isidentifier() for name in path) or (prefix and not prefix.isidentifier()):
        return start, [], False
    matches = sorted(
        name for name in _candidates(line[:begin], path, namespace)
        if type(name) is str and name.startswith(prefix) and len(name) <= NAME_MAX and name.isidentifier()
        # Names that are not for everybody show once their underscores are typed, as in rlcompleter.
        and not (name.startswith("_") and not prefix) and not (name.startswith("__") and prefix == "_")
    )
    return start, matches[:MATCHES_MAX], len(matches) > MATCHES_MAX
