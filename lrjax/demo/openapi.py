"""The API of the demo, described as OpenAPI 3.1, and the page that shows the description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import lrjax

Schema = dict[str, Any]


def describe(points: Sequence[str], limits: Mapping[str, int], no_encoder: str) -> Schema:
    """Describe every request and answer.

    Args:
      points: names of the schemes of landmarks that can be asked for.
      limits: the most "bytes", "pixels" and "faces".
      no_encoder: why faces may not be compared.
    """
    sizes = {name: f"{limit:,} {name}" for name, limit in limits.items()}
    bounds = f"At most {sizes['bytes']}, {sizes['pixels']} and {sizes['faces']}."
    picture = {
        "type": "string",
        "format": "binary",
        "description": f"A JPEG, PNG, WebP, BMP, GIF, TIFF or PPM file. {bounds}",
    }
    fields: dict[str, Schema] = {
        "boxes": {
            "type": "string",
            "description": "JSON: [[x, y, width, height], ...] in pixels. Without it, the faces "
            "are found.",
            "example": "[[40, 30, 24, 28]]",
        },
        "points": {
            "type": "string",
            "enum": [*points],
            "default": "five",
            "description": "Which landmarks; native are all that the network has.",
        },
        "aligned": {
            "type": "string",
            "enum": ["true", "false"],
            "default": "false",
            "description": "Whether to send the aligned faces, too.",
        },
    }
    box = {"type": "string", "description": "JSON: [x, y, width, height] of the face. Without it, "
           "the surest that is found."}  # fmt: skip
    predict = {
        "summary": "Find the landmarks of the faces in a picture",
        "description": "The picture is a field of a form (multipart/form-data), or the body "
        "itself. Pictures that several programs send are looked at together.",
        "parameters": [
            {"name": name, "in": "query", "description": schema["description"],
             "schema": {k: v for k, v in schema.items() if k != "description"}}
            for name, schema in fields.items()
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": _object({"picture": picture, **fields}, required=("picture",))
                },
                "image/*": {"schema": picture},
            },
        },
        "responses": _responses("Predictions", "The faces, the surest found first."),
    }  # fmt: skip
    compare = {
        "summary": "Compare the faces in two pictures",
        "description": "Both are aligned and encoded; their features' cosine says how alike they "
        "are to the encoder. How much is enough for one person depends on the encoder.",
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": _object(
                        {"first": picture, "second": picture, "first_box": box, "second_box": box},
                        required=("first", "second"),
                    )
                }
            },
        },
        "responses": {
            **_responses("Comparison", "How alike they are."),
            "404": _error(no_encoder),
        },
    }
    state = {
        "summary": "Ask whether pictures can be looked at yet",
        "responses": {"200": _answer("State", "What is being done, and what there is.")},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lrjax demo",
            "version": lrjax.__version__,
            "description": "Landmarks on small faces. Coordinates are pixels of the picture as "
            "browsers show it: an orientation that EXIF asks for is applied. The centre of the "
            "first pixel is (0, 0), x goes right and y goes down; left is the viewer's left.",
        },
        "servers": [{"url": ".", "description": "Where this description is, token included."}],
        "paths": {
            "/predict": {"post": predict},
            "/compare": {"post": compare},
            "/state": {"get": state},
        },
        "components": {"schemas": _schemas(limits)},
    }


def render_docs(api: Schema) -> str:
    """Render the page that shows a description; it needs nothing from elsewhere."""
    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return page.get_template("docs.html.jinja").render(api=api)


def _schemas(limits: Mapping[str, int]) -> Schema:
    number, text = {"type": "number"}, {"type": "string"}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    flag = {"type": "boolean"}
    whole = {"type": "integer"}
    face = _object(
        {
            "box": _about(
                {"type": "array", "items": number, "minItems": 4, "maxItems": 4},
                "x, y, width, height in pixels.",
            ),
            "detector_confidence": _about(
                _or_null(share), "The detector's probability of a face; null if its box was sent."
            ),
            "confidence": _about(share, "The mean of its landmarks'."),
            "doubtful": _about(flag, "Whether there may be no face, by that confidence."),
            "landmarks": _about(
                {"type": "object", "additionalProperties": _ref("Landmark")},
                "Each by its name, such as left_eye.",
            ),
            "aligned": _about(
                _or_null(text), "A data: URL of the aligned face as PNG, if it was asked for."
            ),
        }
    )
    return {
        "Landmark": _object({"x": number, "y": number, "confidence": share}),
        "Face": face,
        "Predictions": _object(
            {
                "width": _about(whole, "Of the picture, in pixels."),
                "height": whole,
                "faces": {"type": "array", "items": _ref("Face"), "maxItems": limits["faces"]},
                "seconds": _about(number, "From the request to its answer."),
            }
        ),
        "Comparison": _object(
            {
                "similarity": _about(
                    {"type": "number", "minimum": -1, "maximum": 1}, "1: the same to the encoder."
                ),
                "first": _ref("Face"),
                "second": _ref("Face"),
            }
        ),
        "State": _object(
            {
                "ready": flag,
                "doing": _about(_or_null(text), "What must be done first; null when nothing is."),
                "problem": _about(_or_null(text), "Why it never can be; null if that is not so."),
                "seconds": _about(number, "Since the program was started."),
                "points": {"type": "array", "items": text},
                "encoder": _about(_or_null(text), "Name of the face encoder."),
                "needed": _about(_or_null(text), "What comparing needs, where it cannot be done."),
                "limits": _object(dict.fromkeys(limits, whole)),
            }
        ),
        "Error": _object({"error": _about(text, "What is wrong, and what to do, in a sentence.")}),
    }


def _responses(name: str, about: str) -> Schema:
    return {
        "200": _answer(name, about),
        "400": _error("A picture, a box or a field cannot be used."),
        "413": _error("A picture has too many bytes, pixels or faces."),
        "503": _error("The networks are being compiled, or too many pictures wait: come again "
                      "after the seconds in the header Retry-After."),
    }  # fmt: skip


def _answer(name: str, about: str) -> Schema:
    return {"description": about, "content": {"application/json": {"schema": _ref(name)}}}


def _error(about: str) -> Schema:
    return _answer("Error", about)


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Schema, required: Sequence[str] | None = None) -> Schema:
    names = [*properties] if required is None else [*required]
    return {
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": False,
    }


def _about(schema: Schema, text: str) -> Schema:
    return {**schema, "description": text}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}
