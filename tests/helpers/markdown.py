"""What the documents hold: code, links, anchors and sentences."""

import re
from collections.abc import Iterator

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^(?:\n(?: {4}.*\n)+)", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")
_LIST_ITEM = re.compile(r"^ *(?:[-*]|\d+\.) ")
_SENTENCE_END = re.compile(r"(?<=[.!?])[*_\"')]*\s+")


def blocks(text: str, language: str = "") -> list[str]:
    """Return the fenced blocks of this language; without one, also the blocks that are indented by four spaces."""
    fenced = [block for name, block in _FENCED.findall(text) if name == language]
    if language:
        return fenced
    indented = _INDENTED.findall(_FENCED.sub("", text))
    return fenced + [re.sub("^ {4}", "", block, flags=re.MULTILINE) for block in indented]


def inline_code(text: str) -> list[str]:
    """Return what stands between backticks outside of blocks."""
    return _INLINE.findall(_FENCED.sub("", text))


def links(text: str) -> list[str]:
    """Return the targets of all links and images, as they are written."""
    return _LINK.findall(_INLINE.sub("code", _FENCED.sub("", text)))


def anchors(text: str) -> set[str]:
    """Return the anchors of all headings, as code hosts make them."""
    headings = re.findall(r"^#+ +(.*)$", _FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences outside of blocks, tables and headings, without the targets of links.

    A sentence ends at `.`, `!` or `?` before a space, and where its paragraph or list item ends; a colon or a semicolon
    ends none.
    """
    prose = _INDENTED.sub("\n", _FENCED.sub("\n", text))
    prose = re.sub(r"!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\([^()\s]+\)", r"\1", prose)
    for paragraph in _paragraphs(prose):
        yield from filter(None, (sentence.strip() for sentence in _SENTENCE_END.split(paragraph)))


def words(sentence: str) -> int:
    """Return the number of words: what stands between spaces and has a letter or a digit."""
    return sum(any(character.isalnum() for character in word) for word in sentence.split())


def _paragraphs(prose: str) -> Iterator[str]:
    lines: list[str] = []
    for line in [*prose.splitlines(), ""]:
        is_prose = bool(line.strip()) and not line.startswith(("#", "|"))
        if lines and (not is_prose or _LIST_ITEM.match(line)):
            yield " ".join(lines)
            lines = []
        if is_prose:
            lines.append(_LIST_ITEM.sub("", line).strip())
