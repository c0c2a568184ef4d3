"""Commands made of functions, whose parameters are the arguments and options."""

from __future__ import annotations

import dataclasses
import inspect
import os
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import click


class Click:
    """What click shall know of a parameter besides its type.

    Attributes:
      options: of `click.Option` or `click.Argument`; `flag` and, of a bool, `off` are the names.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options


def choice(names: Iterable[str]) -> Click:
    """Annotate a parameter that is one of several names."""
    return Click(type=click.Choice(list(names)))


def default_data_dir() -> Path:
    """Return where prepared data live unless told otherwise, as for TFDS itself."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


FOLDER = Click(type=click.Path(path_type=Path, file_okay=False))
FILE = Click(type=click.Path(path_type=Path, dir_okay=False))
Flag = Annotated[bool, Click(is_flag=True)]
Which = Literal["best", "last"] | None
DataDir = Annotated[
    Path,
    FOLDER,
    Click(default=default_data_dir, show_default="$TFDS_DATA_DIR or ~/tensorflow_datasets"),
]
RunsDir = Annotated[Path, FOLDER, Click(default="runs", show_default=True)]
Settings = Annotated[tuple[str, ...], Click(flag="--set", multiple=True, metavar="FIELD=VALUE")]

TEXTS = {
    # Of dataclasses.
    "landmarks": "What finds the five points: the pretrained network, the run folder or weights of "
    "another one, the faces' own (points), MTCNN as AdaFace prepared TinyFace (adaface), or "
    "nothing (resize).",
    "fit": "Turn, scale and move the points onto the template, or shear them too.",
    "resize_mode": "How a face is resized that cannot be aligned: to any shape, or with black "
    "beside it.",
    "region": "Where the face is in its image: left, top, width, height, as shares of its size.",
    "upsample": "Run or weights of a super-resolution network that enlarges the images first, as "
    "the faces it has learned with.",
    "resize_to": "Resize the images to this longer side first, whatever their own is.",
    "align_at": "Align at this height in pixels, and resize to the template's own then.",
    "flip": "Average with the prediction for the mirror image.",
    "passes": "1: look at the box. 2: look again, centred on the points found. And so on.",
    "scales": "Average over crops of these relative sizes.",
    "smallest": "Side of the smallest faces to be found, in pixels; half of it takes four times as "
    "long.",
    "enlarge": "Enlarge the images so many times first, for small faces.",
    "thresholds": "Probabilities above which P-Net, R-Net and O-Net take something for a face.",
    "step": "From one size of faces that is looked for to the next larger one, as a factor.",
    "upright": "Turn the crop with the face from the second pass on.",
    # Of several commands.
    "images": "Folder of images (jpg, jpeg, png, bmp, webp) with all that is in it, one image, or "
    "a text file (.txt) with their names, one a line.",
    "allow_outside": "Also open files that a table or list names from the root on, or with '..'.",
    "draw": "Write a picture of each image there, its faces numbered and coloured by confidence, "
    "small ones enlarged, and a sheet of all faces.",
    "report": "HTML page to write, with the sheet and a table.",
    "data_dir": "Where prepared records are.",
    "runs_dir": "Where runs are kept; what is there is not trained again.",
    "settings": "Change a field.",
    "host": "Address to serve the page on; any but the default lets other machines in.",
    "port": "Port of the page; 0 is any that is free.",
    "out": "Also write the table as JSON, which `lrjax report` reads, and curves beside it.",
    "which": "Which weights of a run folder: with the least held-out error, or the final ones.  "
    "[default: best, or last if nothing was held out]",
}
"""Parameter or field -> help."""


class Numbers(click.ParamType):
    """Numbers with commas between them, as a tuple.

    Attributes:
      count: how many there must be; None: any number of them.
    """

    name = "N,N,..."

    def __init__(self, count: int | None = None) -> None:
        self.count = count

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Read the numbers."""
        try:
            numbers = tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 0.9,1,1.1.", param, ctx)
        if self.count not in (None, len(numbers)):
            self.fail(
                f"{value!r} is not {self.count} numbers such as 0.25,0.3,0.5,0.5.", param, ctx
            )
        return numbers


def command(**texts: str) -> Callable[[Callable[..., None]], click.Command]:
    """Make a command of a function, whose docstring is its help.

    Parameters after a "*" are options, those before arguments; without a default they must be
    given. A bool becomes --name/--no-name, a `Literal` a choice, a tuple of numbers N,N,...; what
    click shall know besides is `Annotated` as `Click`. A dataclass stands for options that are its
    fields; dataclasses share those of one name.

    Args:
      texts: parameter or field -> help, besides `TEXTS`.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        hints = typing.get_type_hints(function, include_extras=True)
        parameters = inspect.signature(function).parameters
        about = TEXTS | texts
        found: list[click.Parameter] = []
        configs: dict[str, Any] = {}
        for name, parameter in parameters.items():
            hint, default = hints[name], parameter.default
            if dataclasses.is_dataclass(hint):
                configs[name] = hint
                own = typing.get_type_hints(hint)
                found += [
                    _option(field.name, own[field.name], field.default, about[field.name])
                    for field in dataclasses.fields(hint)
                ]
            elif parameter.kind is parameter.KEYWORD_ONLY:
                found.append(_option(name, hint, default, about.get(name)))
            else:
                found.append(_argument(name, hint, default))

        def call(**given: Any) -> None:
            values = {
                name: kind(**{field.name: given[field.name] for field in dataclasses.fields(kind)})
                for name, kind in configs.items()
            }
            function(**values, **{name: given[name] for name in parameters if name not in configs})

        shared = {option.name: option for option in found}
        name = function.__name__.removesuffix("_command")
        return click.Command(name, callback=call, params=[*shared.values()], help=function.__doc__)

    return decorate


def _argument(name: str, hint: Any, default: Any) -> click.Argument:
    kind, extra = _unwrapped(hint)
    several = {"nargs": -1} if typing.get_origin(kind) is tuple else {}
    required = default is inspect.Parameter.empty
    options = {"type": _click_type(kind), "required": required} | several | extra
    return click.Argument([name], **options)


def _option(name: str, hint: Any, default: Any, text: str | None) -> click.Option:
    kind, extra = _unwrapped(hint)
    flag = extra.pop("flag", f"--{name.replace('_', '-')}")
    if kind is bool and not extra.get("is_flag"):
        flag = f"{flag}/{extra.pop('off', flag.replace('--', '--no-', 1))}"
    options = {"help": text, "type": _click_type(kind)}
    if default is inspect.Parameter.empty:
        options["required"] = "default" not in extra
    elif isinstance(default, tuple):
        options["default"] = ",".join(f"{value:g}" for value in default) or ()
    else:
        options["default"] = default
    options["show_default"] = options.get("default") not in (None, (), False)
    return click.Option([flag, name], **options | extra)


def _unwrapped(hint: Any) -> tuple[Any, dict[str, Any]]:
    """The type, without None and annotation, and the annotation."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is Annotated:
        known = {key: value for one in hint.__metadata__ for key, value in one.options.items()}
        return _unwrapped(hint.__origin__)[0], known
    return hint, {}


def _click_type(kind: Any) -> Any:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return click.Choice(parts)
    if origin is tuple and float in parts:
        return Numbers(None if Ellipsis in parts else len(parts))
    if origin is tuple:
        return parts[0]
    return click.Path(path_type=Path) if kind is Path else kind
