"""Paths and messages made public: without passwords, keys and signatures.

In: a path or URL as GDAL takes it, or a line that quotes one. Out: the same without user names, passwords and headers.
Of a URL's query only parameters that identify the imagery stay (`_OPEN_NAMES`, and numbers of up to four digits):
servers name their keys differently, so that no list of secret ones would be complete. Opens nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_plus

from geoseg.core.composites import each_part

_OPEN_NAMES = frozenset(
    [
        "service",
        "request",
        "version",
        "layer",
        "layers",
        "style",
        "styles",
        "crs",
        "srs",
        "srsname",
        "bbox",
        "width",
        "height",
        "format",
        "transparent",
        "tilematrixset",
        "tilematrix",
        "tilerow",
        "tilecol",
        "time",
        "elevation",
        "coverage",
        "coverageid",
        "typename",
        "typenames",
        "collection",
        "collections",
        "item",
        "items",
        "ids",
        "bands",
        "sd",
        "sd_name",
        "ovr",
        "limit",
        "page",
        "datetime",
    ]
)
"""Parameters of a query that name what is shown (OGC services, STAC APIs, vrt://) and never hold a secret."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{1,30}://|https?:/+", re.IGNORECASE)
"""Begin of a URL; `http:/` is what is left of one that was taken for a path of files, a single letter is a drive."""
_OPTIONS = re.compile(r"(/vsi\w+)\?")
"""Begin of a virtual file whose options, headers among them, stand in front of its URL."""
_DATABASE = re.compile(
    r"\s*(PG|PostgreSQL|PostGISRaster|MySQL|MSSQL|OCI|GeoRaster|ODBC|HANA|MongoDBv3|MongoDB|SDE|IDB|DB2ODBC|Ingres|Walk|"
    r"PGeo|AmigoCloud|Carto|NGW|PLScenes|PLMosaic|EEDA|EEDAI|Elastic|CouchDB|Cloudant):(?!//)",
    re.IGNORECASE,
)  # fmt: skip
"""Begin of a connection to a database or a service."""
_CONNECTION_NAMES = frozenset(
    ["host", "port", "dbname", "database", "schema", "schemas", "table", "tables", "mode", "column", "server"]
)
_CRYPT_KEY = re.compile(r"(/vsicrypt/).*?(file=|$)", re.DOTALL)
_MATRIX = re.compile(r";[^/;?#=]*=[^/;?#]*")
"""A parameter within the path of a URL, such as ;jsessionid=..."""
_DOCUMENT = re.compile(r"\s*<(?:\?[^>]*>\s*<)?(?:!--.*?-->\s*<)?([A-Za-z_][\w.-]*)[^<]*<", re.DOTALL)
_SECRET_NAME = (
    r"(?:x-(?:amz|goog|ms|oss|cos)-[\w-]{1,40}|sig|[\w-]{0,40}token|api[_-]?key|[\w-]{0,40}access[_-]?key\w{0,9}|"
    r"[\w-]{0,40}secret|password|passwd|passphrase|pwd|userpwd|authorization|credentials?|jsessionid|key-pair-id)"
)
_WEAK_NAME = r"(?:key|se|sp|sv|st|sr|code|auth|policy|signature|expires)"
"""Names of secrets in the query of a URL, which are common words elsewhere."""
_SECRET = re.compile(f"{_SECRET_NAME}|{_WEAK_NAME}", re.IGNORECASE)
_VALUE = r"(?!\*\*\*)(?:\"[^\"]*\"|'[^']*'|[^\s&,;'\"<>]+)"
_SECRET_QUERY = re.compile(rf"\?(?:[^/]*[?&;])?(?:{_SECRET_NAME}|{_WEAK_NAME})=.*", re.IGNORECASE | re.DOTALL)
"""The query in the name of a file that was downloaded with all of its URL for a name."""
_ASSIGNED = re.compile(rf"((?<![\w/-]){_SECRET_NAME}|(?<=[?&]){_WEAK_NAME})={_VALUE}", re.IGNORECASE)
_HEADER = re.compile(
    r"\b(authorization|cookie|x-api-key|proxy-authorization)(\s*[:=]\s*)(?!\*\*\*)(?:(?:bearer|basic|digest|token)\s+)?[^\s,;'\"]+",
    re.IGNORECASE,
)
_ELEMENT = re.compile(
    r"<(UserPwd|Password|HttpAuth|Cookie|Headers|Header|Authorization|AccessToken)>.*?(</\1>|$)", re.I | re.S
)
_MARKS = "://", "http:/", "https:/", "/vsi", "%3a%2f", "%253a"
"""Substrings of a word, in lower case, that indicate a URL."""
_PUNCTUATED = re.compile(r"^([(\[<,;]*)(.*?)([)\]>,;:.]*)$", re.DOTALL)
_MOST_URLS = 50
"""Most URLs nested in one another; a path with more is hidden."""
_LEAST_LETTERS = 4
"""Shorter parts of a secret path are not looked for in messages: they are part of ordinary words."""


def public_form(path: str | os.PathLike[str]) -> str:
    """A path or URL without its secrets; a file path without any is returned unchanged."""
    return each_part(os.fspath(path), _public_part)


def _public_part(text: str) -> str:
    if document := _DOCUMENT.match(text):
        return f"<{document[1]}>"
    if database := _DATABASE.match(text):
        return _connection(database[0].strip(), text[database.end() :])
    if not _is_remote(text):
        return _SECRET_QUERY.sub("", text)
    if len(_SCHEME.findall(text)) > _MOST_URLS:
        return "..."
    shown = _CRYPT_KEY.sub(r"\1\2", _without_options(text))
    shown = _urls(shown)
    plain = shown
    while (further := unquote(plain)) != plain:
        plain = further
        if _hides_more(shown, plain):
            return public_form(plain)
    return shown


def public_text(line: str, known: Iterable[str | os.PathLike[str]] = ()) -> str:
    """A message without secrets: without those of the `known` paths, and without all that look like secrets."""
    for path in [os.fspath(each) for each in known]:
        shown = public_form(path)
        if shown != path:
            line = line.replace(path, shown)
            for part in _secret_parts(path, shown):
                line = line.replace(part, "***")
    line = _ELEMENT.sub(r"<\1>***\2", line)
    line = re.sub(r"\S+", lambda word: _public_word(word[0]), line)
    line = _HEADER.sub(r"\1\2***", line)
    return _ASSIGNED.sub(r"\1=***", line)


def public_values(value: Any, known: Iterable[str | os.PathLike[str]] = ()) -> Any:
    """JSON values with the secrets removed from all texts."""
    if isinstance(value, dict):
        return {public_values(name, known): public_values(inner, known) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [public_values(inner, known) for inner in value]
    return public_text(value, known) if isinstance(value, str) else value


def _public_word(word: str) -> str:
    if not any(mark in word.lower() for mark in _MARKS):
        return word
    before, inner, behind = _PUNCTUATED.fullmatch(word).groups()  # type: ignore[union-attr]
    for quote in "'\"":
        if inner.startswith(quote):
            quoted, _, rest = inner[1:].partition(quote)
            return f"{before}{quote}{public_form(quoted)}{quote if quote in inner[1:] else ''}{rest}{behind}"
    return f"{before}{public_form(inner)}{behind}"


def _is_remote(text: str) -> bool:
    return bool(_SCHEME.search(text)) or text.startswith("/vsi") or "/vsicurl" in text


def _without_options(text: str) -> str:
    """/vsicurl?header.X=...&url=https... as /vsicurl/https..."""
    found = _OPTIONS.search(text)
    if found is None:
        return text
    url = next((value for name, value in parse_qsl(text[found.end() :]) if name.lower() == "url"), "")
    return f"{text[: found.start()]}{found[1]}/{_urls(url)}"


def _urls(text: str) -> str:
    """A text with the secrets of its URLs removed; the first URL ends where the enclosing quotes or braces do."""
    found = _SCHEME.search(text)
    if found is None:
        return text
    before, rest = text[: found.start()], text[found.end() :]
    end = _end(before, rest)
    return before + found[0] + _stripped(rest[:end]) + _urls(rest[end:])


def _end(before: str, rest: str) -> int:
    if before.count('"') % 2:
        closing = rest.find('"')
    elif before.count("{") > before.count("}"):
        closing = rest.find("}")
    else:
        closing = -1
    return len(rest) if closing < 0 else closing


def _stripped(url: str) -> str:
    """The part of a URL after ://, without user and password, path parameters, and most of the query."""
    if _SCHEME.match(url) or url.startswith("/vsi"):  # vrt://https://...
        return _without_matrix_and_query(_urls(url))
    authority, path = _split_authority(url)
    return authority + _without_matrix_and_query(path)


def _without_matrix_and_query(path: str) -> str:
    path, mark, query = path.partition("#")[0].partition("?")
    kept = "&".join(part for part in re.split("[&;]", query) if _is_open(part)) if mark else ""
    path = _MATRIX.sub("", path)
    return _urls(path) + (f"?{kept}" if kept else "")


def _split_authority(url: str) -> tuple[str, str]:
    """Host with port, and the rest; a password may hold characters that end the host in a valid URL."""
    url = re.sub("%40", "@", url, count=0) if "%40" in re.split("[/?#]", url, maxsplit=1)[0] else url
    authority, path = _first(url)
    if "@" in authority:
        return authority.rpartition("@")[2], path
    _, colon, port = authority.partition(":")
    if colon and not authority.startswith("[") and not (port.isdigit() or not port) and "@" in path:
        return _first(url.partition("@")[2])
    return authority, path


def _first(url: str) -> tuple[str, str]:
    authority = re.split("[/?#]", url, maxsplit=1)[0]
    return authority, url[len(authority) :]


def _is_open(part: str) -> bool:
    """Whether a parameter of a query may be shown."""
    name, equals, value = part.partition("=")
    plain = _decoded(value)
    if _SECRET.fullmatch(name):
        return False
    is_number = re.fullmatch(r"\d{1,4}", value) is not None
    return bool(equals) and (is_number or (name.lower() in _OPEN_NAMES and not re.search(r"[@?]|://", plain)))


def _connection(begin: str, rest: str) -> str:
    """Parameters of a database connection without the credentials."""
    pairs = re.findall(r"(\w+)\s*=\s*('[^']*'|\"[^\"]*\"|[^\s,;]+)", rest)
    return begin + " ".join(f"{name}={value}" for name, value in pairs if name.lower() in _CONNECTION_NAMES)


def _decoded(text: str) -> str:
    """A text after percent-decoding, repeated until nothing is encoded."""
    while (plain := unquote(text)) != text:
        text = plain
    return text


def _hides_more(shown: str, plain: str) -> bool:
    """Whether the decoded text holds a URL or a query that the encoded one hides."""
    if len(_SCHEME.findall(plain)) > len(_SCHEME.findall(shown)):
        return True
    return re.search(r"\?[^?]*=", plain) is not None and _urls(plain) != plain


def _secret_parts(path: str, shown: str) -> list[str]:
    """Parts of a path that its public form lacks, both raw and decoded, the longest first."""
    texts = {path, unquote_plus(path), _decoded(path)}
    parts = {part for text in texts for ends in ("", r"\s") for part in re.split(rf"[/?&=:@;,#{{}}<>'\"{ends}]+", text)}
    parts |= {value for text in texts for _, value in parse_qsl(text.partition("?")[2])}
    return sorted((p for p in parts if len(p) >= _LEAST_LETTERS and p not in shown), key=len, reverse=True)
