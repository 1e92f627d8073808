"""HTML page without any reference to another file: sections of text, tables and pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image

_TYPES = {".png": "image/png", ".gif": "image/gif", ".svg": "image/svg+xml"}
_STYLE = """
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 0 auto;
       padding: 1rem 1.5rem 4rem }
h1 { font-size: 1.7rem; margin-bottom: .2rem } h2 { font-size: 1.25rem; margin-top: 2.5rem;
       border-bottom: 1px solid #d9d9d9; padding-bottom: .2rem }
nav a { margin-right: 1rem } a { color: #0b6e99 } .quiet { color: #5a5a5a }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #e6e6e6; text-align: right }
th:first-child, td:first-child { text-align: left } th { border-bottom: 1px solid #949494 }
.wide { overflow-x: auto } img { max-width: 100%; height: auto } figure { margin: 1rem 0 }
figcaption { color: #5a5a5a; font-size: .85rem }
pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; font-size: .8rem }
details > summary { cursor: pointer; color: #0b6e99 }
"""


@dataclass
class Section:
    """Section of a page; its parts appear in the order in which they are added.

    Attributes:
        title: Heading.
        parts: HTML of the parts.
    """

    title: str
    parts: list[str] = field(default_factory=list)

    def text(self, *sentences: str) -> None:
        """Add a paragraph."""
        self.parts.append(f"<p>{escape(' '.join(sentences))}</p>")

    def items(self, sentences: Iterable[str]) -> None:
        """Add a list."""
        entries = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
        if entries:
            self.parts.append(f"<ul>{entries}</ul>")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add a table."""
        head = "".join(f"<th>{escape(title)}</th>" for title in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>"
            for row in rows
        )
        self.parts.append(
            f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
            "</div>"
        )

    def picture(self, path: Path, caption: str) -> None:
        """Add a picture, which the page holds, with its caption as text for screen readers too."""
        content = base64.b64encode(_small(path)).decode()
        source = f"data:{_TYPES[path.suffix]};base64,{content}"
        self.parts.append(
            f'<figure><img src="{source}" alt="{escape(caption)}"><figcaption>{escape(caption)}'
            "</figcaption></figure>"
        )

    def folded(self, summary: str, text: str) -> None:
        """Add text of a fixed width that opens on a click."""
        self.parts.append(
            f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"
        )


def _small(path: Path) -> bytes:
    """Return the content of a picture; a PNG with at most 256 colours, a third of its size."""
    if path.suffix != ".png":
        return path.read_bytes()
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    buffer = BytesIO()
    few.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def render(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return the page."""
    links = "".join(
        f'<a href="#section-{i}">{escape(section.title)}</a>' for i, section in enumerate(sections)
    )
    body = "\n".join(
        f'<section id="section-{i}"><h2>{escape(section.title)}</h2>\n'
        + "\n".join(section.parts)
        + "</section>"
        for i, section in enumerate(sections)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><header>"
        f'<h1>{escape(title)}</h1><p class="quiet">{escape(subtitle)}</p><nav>{links}</nav>'
        f"</header>\n<main>{body}</main></body></html>\n"
    )
