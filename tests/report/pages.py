"""What pages of a report hold, found as a browser would."""

import json
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The tags of a page.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path):
        super().__init__()
        self.path, self.tags, self.text = path, [], ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    @property
    def addresses(self):
        """All that it leads to or takes in."""
        return [
            attributes[name]
            for _, attributes in self.tags
            for name in ("href", "src")
            if attributes.get(name)
        ]

    @property
    def targets(self):
        """The files of those addresses."""
        for address in self.addresses:
            parts = urlsplit(address)
            if not parts.path or parts.scheme == "data":
                continue
            assert parts.scheme in ("", "file"), address
            yield self.path.parent / unquote(parts.path)


def pages(top):
    """All pages of the report of an output directory."""
    folder = top / ".batchstack" / "report"
    return [Page(top / "report.html"), *map(Page, sorted(folder.glob("*/index.html")))]


def page_of(top, stack_id):
    return Page(folder_of(top, stack_id) / "index.html")


def folder_of(top, stack_id):
    (stack,) = (stack for stack in listed(top) if stack["id"] == stack_id)
    return top / ".batchstack" / "report" / stack["page"]


def listed(top):
    """The stacks of the list, in its order."""
    data = script(top / ".batchstack" / "report" / "stacks.js")
    return [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]


def script(path):
    """The data that a script sets."""
    name, _, text = path.read_text().partition(" = ")
    assert name.startswith("window.")
    return json.loads(text.removesuffix(";\n"))
