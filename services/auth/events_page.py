"""The AsyncAPI document as a page that people can read: plain HTML, nothing fetched, everything escaped."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = """\
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
code, th { font-family: ui-monospace, monospace; font-size: .9em; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; }
th, td { border-bottom: 1px solid #8886; padding: .3rem .6rem; text-align: left; vertical-align: top; }
th { font-weight: 600; white-space: nowrap; }
h2 { margin-top: 3rem; border-bottom: 2px solid #888a; overflow-wrap: anywhere; }
summary { cursor: pointer; }
small { opacity: .75; }
"""


def render(document: Mapping[str, Any]) -> str:
    """The whole page for an AsyncAPI 3.0 document as `shared.events.asyncapi` makes it."""
    return html_page("events", "events.css", "\n".join(_body(document)))


def html_page(title: str, style: str, body: str) -> str:
    """A page below `/api/docs`, with a style sheet from there."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Quality Compass: {title}</title>
<link rel="icon" href="/api/docs/favicon.png">
<link rel="stylesheet" href="/api/docs/{style}">
</head>
<body>
{body}
</body>
</html>
"""


def _body(document: Mapping[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield f"<h1>{escape(info['title'])}: events</h1>"
    yield f"<p>{escape(info['description'])} As a document for programs: "
    yield '<a href="/api/asyncapi.json">AsyncAPI</a>. The HTTP interface: <a href="/api/docs">API</a>.</p>'
    yield "<ul>"
    yield from (f'<li><a href="#{escape(name)}"><code>{escape(name)}</code></a></li>' for name in document["channels"])
    yield "</ul>"
    for name, channel in document["channels"].items():
        yield from _channel(document, name, channel)
    yield '<h2 id="schemas">Schemas</h2>'
    for name, schema in document["components"]["schemas"].items():
        yield f'<h3 id="schema-{escape(name)}"><code>{escape(name)}</code></h3>'
        yield from _schema(schema)


def _channel(document: Mapping[str, Any], name: str, channel: Mapping[str, Any]) -> Iterator[str]:
    kafka = channel["bindings"]["kafka"]
    yield f'<h2 id="{escape(name)}">{escape(name)}</h2>'
    yield f"<p>{escape(channel['description'])} Partitions: {escape(str(kafka['partitions']))}.</p>"
    told = [
        operation.split(" ")[:2]
        for operation, content in document["operations"].items()
        if content["channel"]["$ref"] == f"#/channels/{name}"
    ]
    yield f"<p><small>{escape(', '.join(f'{who} {action}' for who, action in told))}</small></p>"
    for message in channel["messages"]:
        yield from _message(message, document["components"]["messages"][message])


def _message(name: str, message: Mapping[str, Any]) -> Iterator[str]:
    yield f"<details><summary><code>{escape(name)}</code> {escape(message['summary'])}</summary>"
    if "description" in message:
        yield f"<p>{escape(message['description'])}</p>"
    yield f"<p>{escape(message['contentType'])}: {_type(message['payload'])}</p>"
    for part in message["payload"].get("allOf", ()):
        if "properties" in part:
            yield from _schema(part)
    yield "</details>"


def _schema(schema: Mapping[str, Any]) -> Iterator[str]:
    if "description" in schema:
        yield f"<p>{escape(schema['description'])}</p>"
    if "properties" not in schema:
        yield f"<p>{_type(schema)}</p>"
        return
    yield "<table>"
    required = set(schema.get("required", ()))
    for name, content in schema["properties"].items():
        mark = " *" if name in required else ""
        yield f"<tr><th>{escape(name)}{mark}</th><td>{_type(content)}</td>"
        yield f"<td>{escape(_description(content))}</td></tr>"
    yield "</table>"


def _description(schema: Mapping[str, Any]) -> str:
    """Its own, or where it may be one of several things what is said of those."""
    parts = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return " ".join(part["description"] for part in parts if "description" in part)


def _type(schema: Mapping[str, Any]) -> str:
    """What a value may be, in a few words; names of other schemas are links."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#schema-{name}"><code>{name}</code></a>'
    for combination, word in (("anyOf", " or "), ("oneOf", " or "), ("allOf", " with ")):
        if combination in schema:
            return word.join(_type(part) for part in schema[combination])
    if "enum" in schema:
        return "one of " + ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    kind = escape(str(schema.get("type", "anything")))
    if "format" in schema:
        kind += f" ({escape(schema['format'])})"
    if isinstance(schema.get("items"), dict):
        kind += f" of {_type(schema['items'])}"
    return kind
