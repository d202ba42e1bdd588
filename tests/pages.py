"""Read HTML pages in tests."""

from html.parser import HTMLParser

VOID = {"meta", "br", "img", "link", "path", "use", "image"}


class Page(HTMLParser):
    """The tags of a page with their attributes, and its texts with the tags around them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        if self._open and data.strip() and self._open[-1] != "style":
            self.texts.append((self._open[-1], data.strip()))

    def section(self, name: str) -> "Page":
        """Return the section with this id alone."""
        start = self.html.index(f'<section id="{name}">')
        return Page(self.html[start : self.html.index("</section>", start)])

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [attributes for found, attributes in self.tags if found == tag]

    def text(self, *tags: str) -> list[str]:
        return [" ".join(text.split()) for tag, text in self.texts if not tags or tag in tags]
