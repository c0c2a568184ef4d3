"""The papers' short names and the measures, in a sentence each, for the page."""

import re

from markupsafe import Markup, escape

GLOSSARY = {
    "K&C": "Kumar and Chellappa's paper on landmarks of low-resolution faces",
    "CSRI": "Cheng, Zhu and Gong's paper on low-resolution recognition, and its network: "
    "complement super-resolution and identity, learned jointly with a branch for native faces",
    "S1": "landmarks learned on subsampled sharp faces",
    "S2": "landmarks learned on faces that G1 made small",
    "S3": "S2, and the heatmap critic D2 in training",
    "S4": "S3, and the confidence critic D3 in training",
    "HR-LD": "the landmark network trained on high-resolution faces",
    "L1": "LightCNN trained on faces that S2 aligned",
    "L2": "LightCNN trained on faces that S3 aligned",
    "L3": "LightCNN trained on faces aligned by landmarks that learned from TinyFace's faces too",
    "L4": "L3, where G1, too, learned from TinyFace's faces",
    "L5": "L4, with LightCNN trained on CASIA-WebFace before",
    "I1": "a pretrained face encoder on faces that S3 aligned",
    "I2": "I1, by landmarks that learned from TinyFace's faces too",
    "I3": "I2, where G1, too, learned from TinyFace's faces",
    "A1": "faces enlarged by SRGAN before they are aligned",
    "A2": "faces enlarged by ESRGAN before they are aligned",
    "G1": "the generator that makes a sharp face small, as a bad camera would",
    "D1": "the critic that tells G1's small faces from native ones",
    "G2": "the network that finds landmarks as heatmaps",
    "D2": "the critic of G2's heatmaps: an autoencoder, as in BEGAN",
    "D3": "the critic that tells true heatmaps from those that G2 finds on an image",
    "k_t": "how much weight BEGAN gives to generated heatmaps, between 0 and 1",
    "NRMSE": "mean distance of the points from where they should be, divided by a size of the face",
    "NME": "normalised mean error, here the same as NRMSE",
    "AUC": "area under the CED up to an error, in percent of the largest possible",
    "CED": "cumulative error distribution: the share of images with less than an error",
    "CMC": "cumulative match characteristic: the share of probes found up to a rank",
    "rank-1": "share of probes whose nearest gallery picture shows the same person",
    "mAP": "mean average precision over all probes",
    "probe": "a picture whose person is sought",
    "probes": "pictures whose persons are sought",
    "distractors": "gallery pictures of people who are sought by nobody",
    "inter-ocular": "distance of the outer corners of the eyes",
    "inter-pupil": "distance of the centres of the eyes",
    "ALRF": "annotated native low-resolution faces",
}
"""Term -> what it means. A term is matched as a whole word, in its case."""

_TERMS = re.compile(
    r"(`[^`]+`|"
    rf"(?<![\w-])(?:{'|'.join(map(re.escape, sorted(GLOSSARY, key=len, reverse=True)))})(?!\w))"
)


def explain(text: str) -> Markup:
    """Escape a text for HTML; let its terms say what they mean on hover, and set `code` as such."""
    return Markup("").join(_explained(part) for part in _TERMS.split(text))


def terms_in(text: str) -> dict[str, str]:
    """Return the terms that a text holds, in the glossary's order, with what they mean."""
    found = set(_TERMS.findall(text))
    return {term: meaning for term, meaning in GLOSSARY.items() if term in found}


def _explained(part: str) -> Markup:
    if part in GLOSSARY:
        return Markup('<abbr title="{}">{}</abbr>').format(GLOSSARY[part], part)
    if len(part) > 2 and part[0] == part[-1] == "`":
        return Markup("<code>{}</code>").format(part[1:-1])
    return escape(part)
