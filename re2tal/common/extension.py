"""Settings that people extend: a class of their own, in a file of their own, in the place of those of the package.

A part of a config that is open to extension has a base class derived from `Extensible`, and its field takes
`Annotated[Base, OneOf(BuiltIn, ...)]`: the built-in classes, told apart by their `kind`, and every other subclass of
`Base`. In JSON the latter carry `source`, "path/to/file.py:Name", beside their settings.

A config file is code, a checkpoint is data: a source that data names is never imported, only looked up among the
classes that have been imported already. `importing_sources` is what trusted callers validate with.
"""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar, Union

from pydantic import Field, GetCoreSchemaHandler, SerializationInfo, ValidationInfo, ValidatorFunctionWrapHandler
from pydantic_core import CoreSchema, core_schema

from re2tal.common.settings import Settings
from re2tal.common.untrusted import shown

__all__ = [
    "Extensible",
    "ExtensionError",
    "OneOf",
    "built_in_at",
    "extension",
    "importing_sources",
    "load_object",
    "spelled_out",
]

_MAY_IMPORT = "may_import"


class ExtensionError(ValueError):
    """A class of one's own that is not where its source says, or is of another kind."""


class Extensible(Settings):
    """The base of settings that may be replaced by a class of one's own."""

    _subclasses: ClassVar[dict[str, "type[Extensible]"]] = {}
    """Those outside of the package, by source with the absolute path; the class that was defined last counts."""
    _source: ClassVar[str]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        cls._source = f"{cls.__module__ if file is None else Path(file).resolve()}:{cls.__qualname__}"
        if not cls.__module__.startswith("re2tal."):
            Extensible._subclasses[cls._source] = cls

    @classmethod
    def source(cls) -> str:
        """Where the class is defined, "path/to/file.py:Name"; relative to the working directory if it lies in it."""
        path, _, name = cls._source.rpartition(":")
        return f"{Path(path).relative_to(Path.cwd())}:{name}" if Path(path).is_relative_to(Path.cwd()) else cls._source


class OneOf:
    """Marks the type of a field as one of the `built_in` classes or any other subclass of the annotated base."""

    def __init__(self, *built_in: type[Extensible], once_alone: bool = False) -> None:
        """
        Args:
            built_in: the classes of the package.
            once_alone: the first of them was the only one in earlier versions, whose files name no kind.
        """
        self.built_in = built_in
        self.once_alone = once_alone

    def __get_pydantic_core_schema__(self, base: type[Extensible], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validation by pydantic of what is built in; of others by the class that their source names."""

        def validate(value: Any, built_in: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
            if isinstance(value, base) and type(value) not in self.built_in:
                return value
            if isinstance(value, Mapping) and "source" in value:
                may_import = (info.context or {}).get(_MAY_IMPORT) is True
                kind = _find(str(value["source"]), base=base, may_import=may_import)
                settings = {name: setting for name, setting in value.items() if name != "source"}
                return kind.model_validate(settings, context=info.context)
            if self.once_alone and isinstance(value, Mapping) and "kind" not in value:
                value = {"kind": self.built_in[0].model_fields["kind"].default, **value}
            named = _named(value, self.built_in) if len(self.built_in) > 1 else None
            # By its class, where it is known: pydantic would put the kind into the names of settings that are wrong.
            return built_in(value) if named is None else named.model_validate(value, context=info.context)

        serialization = core_schema.plain_serializer_function_ser_schema(self._dump, info_arg=True)
        return core_schema.with_info_wrap_validator_function(
            validate, handler.generate_schema(self._type(base)), serialization=serialization
        )

    def _type(self, base: type[Extensible]) -> Any:
        match self.built_in:
            case ():
                return base
            case (only,):
                return only
            case several:
                return Annotated[Union[several], Field(discriminator="kind")]  # noqa: UP007

    def _dump(self, value: Extensible, info: SerializationInfo) -> dict[str, Any]:
        settings = value.model_dump(mode=info.mode)
        return settings if type(value) in self.built_in else {"source": value.source(), **settings}


def extension(source: str | Path, **settings: Any) -> Any:
    """Settings of a class of one's own, by its source; the file is executed, once in a process.

    Args:
        source: "path/to/file.py:Name".
        settings: of that class.

    Raises:
        ExtensionError: there is no such class of settings.
    """
    return _find(str(source), base=Extensible, may_import=True)(**settings)


def importing_sources() -> dict[str, Any]:
    """The context of a validation whose values come from whoever runs the program: their sources are imported."""
    return {_MAY_IMPORT: True}


def built_in_at(model: type[Settings], path: Sequence[str]) -> tuple[type[Extensible], ...]:
    """The classes of the package that the part of a config at a path of names may be; none where there is no choice."""
    *outer, last = path
    for name in outer:
        inner = model.model_fields[name].annotation if name in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, Settings)):
            return ()
        model = inner
    marks = model.model_fields[last].metadata if last in model.model_fields else []
    return next((mark.built_in for mark in marks if isinstance(mark, OneOf) and len(mark.built_in) > 1), ())


def spelled_out(value: Any, *, built_in: Sequence[type[Extensible]] = ()) -> Any:
    """What an option of the command line sets a part of a config to: with the defaults of its class, if it names one.

    Args:
        value: a source, settings with a `source`, or settings with the `kind` of a class of the package.
        built_in: the latter.

    Raises:
        ExtensionError: there is no such class.
    """
    if (named := _named(value, built_in)) is not None:
        return {**named.model_construct().model_dump(warnings=False), **value}
    given = {"source": value} if isinstance(value, str) and ".py:" in value else value
    if not isinstance(given, Mapping) or "source" not in given:
        return value
    kind = _find(str(given["source"]), base=Extensible, may_import=True)
    settings: dict[str, Any] = {name: setting for name, setting in given.items() if name != "source"}
    return {"source": given["source"], **kind.model_construct(None, **settings).model_dump(warnings=False)}


def _named(value: Any, built_in: Sequence[type[Extensible]]) -> type[Extensible] | None:
    """The class whose `kind` settings have; None where they are no mapping, or have none of the kinds."""
    if not isinstance(value, Mapping) or "kind" not in value:
        return None
    return next((kind for kind in built_in if kind.model_fields["kind"].default == value["kind"]), None)


def load_object(source: str) -> Any:
    """What "path/to/file.py:Name" names; the file is executed, once in a process.

    Raises:
        ExtensionError: there is no such file or name, or the file cannot be executed.
    """
    path, _, name = source.rpartition(":")
    if not path.endswith(".py") or not Path(path).is_file():
        raise ExtensionError(f"there is no file {path or source!r}; write path/to/file.py:Name, got {shown(source)}")
    module = _load(Path(path).resolve())
    if not hasattr(module, name):
        raise ExtensionError(f"{path} defines no {name!r}; write path/to/file.py:Name with a name that it defines")
    return getattr(module, name)


def _find(source: str, *, base: type[Extensible], may_import: bool) -> type[Extensible]:
    path, _, name = source.rpartition(":")
    known = Extensible._subclasses
    found: Any = known.get(f"{Path(path).resolve()}:{name}") or known.get(source)
    if found is None and may_import:
        found = load_object(source)
    if found is None:  # a checkpoint may come from another folder, or another machine
        suffix = f"/{Path(path).name}:{name}"
        found = next((kind for where, kind in reversed(known.items()) if where.endswith(suffix)), None)
    if found is None:
        raise ExtensionError(
            f"it needs the class {shown(source)}, and code that data names is not imported; give the config that it "
            "was trained with by --config, or import the class first"
        )
    if not isinstance(found, type) or not issubclass(found, base):
        raise ExtensionError(f"{source} must be a subclass of {base.__name__}, got {found!r:.100}; derive it from that")
    return found


def _load(path: Path) -> ModuleType:
    """The module in a file; the one that has been loaded already, if it has."""
    loaded = (module for module in list(sys.modules.values()) if getattr(module, "__file__", None) == str(path))
    module = next(loaded, None)
    if module is not None and module.__name__ != "<run_path>":
        return module
    module_name = f"re2tal_extension:{path}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise ExtensionError(f"{path} cannot be executed: {type(error).__name__}: {error}; correct the file") from error
    return module
