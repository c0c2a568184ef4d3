"""Pictures and fields of a request, from a form or a bare body."""

from __future__ import annotations

from email.message import Message

from starlette.requests import Request

from lrjax.errors import InputError
from lrjax.web.server import read_body

MOST_PARTS = 8
"""A form has at most so many fields."""

_HEADER = 4096


async def read_fields(request: Request, largest: int, bare: str) -> dict[str, bytes]:
    """Read what a request sends: the parameters of its address, and the fields of its body.

    Args:
      request: with a form (multipart/form-data), or anything else as its body.
      largest: bytes of the largest body.
      bare: the field that a body is that is no form.

    Raises:
      InputError: the form is damaged, or has a field twice or too many.
      HTTPException: the body is too long.
    """
    body = await read_body(request, largest)
    kind = Message()
    kind["Content-Type"] = request.headers.get("content-type", "")
    form = {bare: body} if body else {}
    if kind.get_content_type() == "multipart/form-data":
        boundary = kind.get_param("boundary")
        if not isinstance(boundary, str) or not boundary.isascii():
            raise InputError("The form names no boundary; send multipart/form-data with one.")
        form = parse_form(body, boundary.encode())
    address = {name: value.encode() for name, value in request.query_params.items()}
    return address | form


def parse_form(body: bytes, boundary: bytes) -> dict[str, bytes]:
    """Take a form apart (RFC 7578) that is all in memory: its fields by their names.

    Raises:
      InputError: it is damaged, or has a field twice or too many.
    """
    first, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary, MOST_PARTS + 1)
    del first  # what comes before the first boundary counts for nothing
    if not any(part.startswith(b"--") for part in parts[-1:]):
        raise InputError(
            f"The form is cut off or has more than {MOST_PARTS} fields; send all of it again."
        )
    fields: dict[str, bytes] = {}
    for part in parts[:-1]:
        blanks, _, rest = part.partition(b"\r\n")
        head, end, content = rest.partition(b"\r\n\r\n")
        name = None if blanks.strip(b" \t") or not end else _name(head)
        if name is None or name in fields:
            raise InputError("The form has a field without a name of its own; name each once.")
        fields[name] = content
    return fields


def _name(head: bytes) -> str | None:
    for line in head[:_HEADER].decode("utf-8", "replace").split("\r\n"):
        title, _, value = line.partition(":")
        if title.strip().lower() == "content-disposition":
            disposition = Message()
            disposition["Content-Disposition"] = value.strip().replace("\n", " ").replace("\r", " ")
            name = disposition.get_param("name", header="content-disposition")
            return name if isinstance(name, str) and name else None
    return None
