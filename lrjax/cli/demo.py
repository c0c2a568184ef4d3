"""`lrjax demo`: try it on pictures, in a browser or by HTTP."""

from __future__ import annotations

from pathlib import Path

from lrjax.cli.options import command
from lrjax.cli.pages import invite, need_server
from lrjax.inference.detector import FaceDetector
from lrjax.inference.encoder import FaceEncoder
from lrjax.inference.landmarks import LandmarkPredictor


@command(
    weights="Weights file or run folder of the landmark network, or the one that comes along.",
    encoder="File of `lrjax convert` or run folder of `lrjax train recognition`: the network by "
    "which faces are compared.",
)
def demo(
    *,
    weights: Path = Path("pretrained"),
    encoder: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> None:
    """Try it on pictures: a page in the browser of this machine, and a server for programs.

    Drop a picture on the page, or take the one that is drawn for it: it shows the faces, their
    landmarks, how sure they are, and the aligned faces. Pictures stay on this machine. Programs
    send them to ADDRESS/predict, as ADDRESS/docs describes.
    """
    need_server()
    from lrjax.demo.engine import Engine
    from lrjax.demo.example import example
    from lrjax.demo.server import site
    from lrjax.web.server import listen, serve

    known = None if encoder is None else FaceEncoder.load(encoder)
    engine = Engine(FaceDetector.load(), LandmarkPredictor.load(weights), known, example)
    with listen(host, port) as server:
        page = site(engine)
        token = invite(server, host, "Try it", "use it")
        with engine:
            serve(page, host, server, token)
