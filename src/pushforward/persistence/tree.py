"""Conversion between a tree of modules and plain data.

A module is {"class": name, "fields": {field: value}}. A value is null, a truth value, a number, {"float": "inf"} or
"-inf", text, a list (for a tuple), {"list": [...]} (for a list), {"array": name, "dtype", "shape", "kind"}, or another
module, or {"function": name}. An array's name is its path. Classes and functions are looked up in closed tables; no
name from a file is imported.
"""

import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import AbstractArray

from pushforward import bases, bijections, networks
from pushforward.core import dequantised, discretised, distribution, ensemble, flow
from pushforward.errors import ModelFileError
from pushforward.numerics.arrays import is_array, on_device
from pushforward.persistence.aliases import current_class, stored_names
from pushforward.persistence.callables import EQUINOX, function_name, is_concrete, known_functions, qualified_name
from pushforward.persistence.container import DTYPES, Spec, damaged, numpy_dtype, parse_spec

Registry: TypeAlias = dict[str, Any]  # classes, and functions of the caller
MAX_DEPTH = 100
MAX_MODULES = 20_000
_MODULES = (bases, bijections, dequantised, discretised, distribution, ensemble, flow, networks)


def registry(extra: Iterable[Any] = ()) -> Registry:
    """The concrete module classes of the library and of `equinox.nn` by name, and what the caller adds.

    Args:
        extra: classes and functions of the caller, which are known by their qualified names.
    """
    known: Registry = dict(EQUINOX)
    for module in _MODULES:
        for value in vars(module).values():
            if not _is_concrete(value) or not value.__module__.startswith("pushforward."):
                continue
            if known.setdefault(value.__name__, value) is not value:
                raise TypeError(f"two classes of the library are called {value.__name__}: rename one.")
    for cls in extra:
        if not _is_function(cls) and not _is_concrete(cls):
            raise TypeError(f"extra: expected concrete subclasses of equinox.Module, or functions, got {cls!r}.")
        if _is_function(cls) or known.get(cls.__name__) is not cls:
            known[qualified_name(cls)] = cls
    return known


def _is_concrete(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, eqx.Module) and is_concrete(value)


def classes_of(module: eqx.Module) -> list[Any]:
    """The classes of a module and of all modules below it, and the functions that they hold."""
    classes: dict[Any, None] = {}
    stack: list[Any] = [module]
    while stack:
        node = stack.pop()
        if isinstance(node, eqx.Module):
            classes[type(node)] = None
            stack += [getattr(node, field.name, None) for field in dataclasses.fields(node)]
        elif isinstance(node, list | tuple):
            stack += node
        elif _is_function(node) and function_name(node) not in known_functions():
            classes[node] = None
    return list(classes)


def encode(module: eqx.Module) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A module as plain data and its arrays by name.

    Raises:
        ModelFileError: for a value that a model file cannot store.
    """
    known, tensors = registry(), {}

    def refuse(path: str, what: str, fix: str) -> ModelFileError:
        return ModelFileError(f"{path or 'the flow'} is {what}, which a model file cannot store: {fix}.")

    def plain(value: Any, path: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise refuse(path, f"nested more than {MAX_DEPTH} levels deep", "build a flow with less nesting")
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, int):
            if abs(value) >= 1 << 63:
                raise refuse(path, "a whole number beyond 64 bits", "store it as text")
            return int(value)
        if isinstance(value, float):
            if math.isnan(value):
                raise refuse(path, "not a number", "use None, or a number")
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        if is_array(value):
            return array(value, path)
        if isinstance(value, tuple) and type(value) is tuple:
            return [plain(item, f"{path}.{index}", depth + 1) for index, item in enumerate(value)]
        if type(value) is list:
            return {"list": [plain(item, f"{path}.{index}", depth + 1) for index, item in enumerate(value)]}
        if isinstance(value, eqx.Module):
            cls = type(value)
            short = (cls.__name__, f"equinox.nn.{cls.__name__}")
            name = next((name for name in short if known.get(name) is cls), qualified_name(cls))
            names = [field.name for field in dataclasses.fields(value)]
            start = f"{path}." if path else ""
            return {
                "class": name,
                "fields": {name: plain(getattr(value, name), f"{start}{name}", depth + 1) for name in names},
            }
        if _is_function(value):
            try:
                return {"function": function_name(value)}
            except ValueError as error:
                raise refuse(path, f"the function {getattr(value, '__qualname__', value)}", str(error)) from None
        fix = "use arrays, numbers, text, tuples, modules and functions in fields"
        raise refuse(path, f"a {type(value).__name__}", fix)

    def array(value: Any, path: str) -> dict[str, Any]:
        if isinstance(value, jax.core.Tracer):
            raise refuse(path, "a value under a trace", "save outside jit, grad and vmap")
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            raise refuse(path, "a random key", "pass keys to the calls that sample")
        host, kind = np.asarray(value), "jax" if isinstance(value, jax.Array) else "numpy"
        if str(host.dtype) not in DTYPES.values():
            raise refuse(path, f"an array of type {host.dtype}", "use real numbers")
        if jnp.issubdtype(host.dtype, jnp.inexact) and not np.isfinite(host).all():
            n_bad = int((~np.isfinite(host)).sum())
            raise ModelFileError(
                f"{path} holds {n_bad} of {host.size} numbers that are NaN or infinite, so the flow is not saved: "
                "train again with a smaller learning rate, or save an earlier flow."
            )
        tensors[path] = np.ascontiguousarray(host).reshape(host.shape)
        return {"array": path, "dtype": str(host.dtype), "shape": list(host.shape), "kind": kind}

    return plain(module, "", 0), tensors


def expected_specs(config: Any, known: Registry) -> dict[str, Spec]:
    """The specs of the tensors that a configuration needs, by name; checks its classes and fields."""
    specs: dict[str, Spec] = {}

    def record(name: str, spec: Spec, kind: str) -> jax.ShapeDtypeStruct:
        if kind == "jax" and jax.dtypes.canonicalize_dtype(numpy_dtype(spec.dtype)) != numpy_dtype(spec.dtype):
            raise ModelFileError(
                f"{name} was saved in {spec.dtype}, which JAX supports only in 64-bit mode: call "
                'jax.config.update("jax_enable_x64", True) first, or set JAX_ENABLE_X64=1.'
            )
        specs[name] = spec
        return jax.ShapeDtypeStruct(spec.shape, numpy_dtype(spec.dtype))

    _decode(config, known, record)
    return specs


def decode(config: Any, known: Registry, tensors: dict[str, np.ndarray]) -> Any:
    """The module of a configuration, with its tensors; its invariants are not checked here."""

    def to_array(name: str, spec: Spec, kind: str) -> Any:
        tensor = tensors[name]
        if jnp.issubdtype(tensor.dtype, jnp.inexact) and not np.isfinite(tensor).all():
            raise damaged(f"tensor {name!r} has NaN or infinite values")
        return on_device(tensor) if kind == "jax" else tensor

    return _decode(config, known, to_array)


def _decode(config: Any, known: Registry, to_array: Callable[[str, Spec, str], Any]) -> Any:
    n_modules = 0

    def value_of(node: Any, path: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise damaged(f"its configuration is nested more than {MAX_DEPTH} levels deep")
        if node is None or isinstance(node, bool | float | str):
            return node
        if isinstance(node, int):
            if abs(node) >= 1 << 63:
                raise damaged(f"{path} is a whole number beyond 64 bits")
            return node
        if isinstance(node, list):
            return tuple(value_of(item, f"{path}.{index}", depth + 1) for index, item in enumerate(node))
        keys = set(node)
        if keys == {"list"} and isinstance(node["list"], list):
            return [value_of(item, f"{path}.{index}", depth + 1) for index, item in enumerate(node["list"])]
        if keys == {"float"} and node["float"] in ("inf", "-inf"):
            return float(node["float"])
        if keys == {"array", "dtype", "shape", "kind"}:
            if node["array"] != path or node["kind"] not in ("jax", "numpy"):
                raise damaged(f"the description of the array at {path} is not valid")
            return to_array(path, parse_spec(path, node["dtype"], node["shape"]), node["kind"])
        if keys == {"class", "fields"}:
            return module_of(node["class"], node["fields"], path, depth)
        if keys == {"function"}:
            return function_of(node["function"])
        raise damaged(f"its configuration has the unknown keys {sorted(keys)} at {path or 'its root'}")

    def function_of(name: Any) -> Any:
        function = known_functions().get(name, known.get(name)) if isinstance(name, str) else None
        if function is None or isinstance(function, type):
            raise ModelFileError(
                f"has the unknown function {name!r}: pass your own functions as load(..., extra=(my_activation,))."
            )
        return function

    def module_of(name: Any, fields: Any, path: str, depth: int) -> eqx.Module:
        nonlocal n_modules
        n_modules += 1
        if n_modules > MAX_MODULES:
            raise damaged(f"its configuration has more than {MAX_MODULES:,} modules")
        name = current_class(name)
        if not isinstance(name, str) or not isinstance(known.get(name), type):
            raise ModelFileError(
                f"has the unknown class {name!r}: pass your own classes as "
                "load(..., extra=(MyLayer,)), or install the pushforward that wrote the file."
            )
        cls = known[name]
        declared = {field.name: field for field in dataclasses.fields(cls)}
        optional = {name for name, field in declared.items() if _has_default(field)}  # older versions lack some
        stored = stored_names(name, fields) if isinstance(fields, dict) else {}
        if not isinstance(fields, dict) or not set(declared) - optional <= set(stored) <= set(declared):
            raise ModelFileError(
                f"stores the fields {sorted(fields) if isinstance(fields, dict) else fields!r} for {name} at "
                f"{path or 'its root'}, this version has {sorted(declared)}: install the version that wrote the file."
            )
        module = object.__new__(cls)
        start = f"{path}." if path else ""
        for field in declared:  # in the order of the class, not of the file
            old = stored.get(field)  # the path of an array has the old names of fields
            value = declared[field].default if old is None else value_of(fields[old], f"{start}{old}", depth + 1)
            is_own = cls.__module__.startswith("pushforward.")
            is_static = declared[field].metadata.get("static", False)
            if (is_static and not _is_plain(value)) or (is_own and not _fits(value, declared[field].type)):
                raise damaged(f"{start}{field} is a {type(value).__name__}, which {name} cannot have there")
            object.__setattr__(module, field, value)
        return module

    return value_of(config, "", 0)


def _has_default(field: dataclasses.Field) -> bool:
    is_plain = bool(field.metadata.get("static", False)) or field.default is None or field.default == ()
    return is_plain and field.default is not dataclasses.MISSING


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str) or _is_function(value)


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, type | eqx.Module)


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a value has the type of an annotation; unknown annotations allow every value."""
    if annotation is None or annotation is type(None):
        return value is None
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(parts) == 2 and parts[1] is Ellipsis:
            return all(_fits(item, parts[0]) for item in value)
        return len(parts) == len(value) and all(_fits(item, part) for item, part in zip(value, parts, strict=True))
    if annotation in (bool, str):
        return isinstance(value, annotation)
    if annotation in (int, float):
        return isinstance(value, int | annotation) and not isinstance(value, bool)
    if origin is Callable or annotation is Callable:
        return callable(value)
    if not inspect.isclass(annotation):
        return True
    if annotation in (jax.Array, np.ndarray) or issubclass(annotation, AbstractArray):
        return isinstance(value, jax.ShapeDtypeStruct) or is_array(value)
    return isinstance(value, annotation) if issubclass(annotation, eqx.Module) else True
