"""No secret of a path is seen in its public form, or in a message that quotes it."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.core.errors import SceneError
from geoseg.core.redaction import public_form, public_text

SECRETS = st.text("abcXYZ0189+/=%.~_-$!*()ü", min_size=5, max_size=20).map(lambda text: f"S3{text}9")
NAMES = st.sampled_from(
    [
        "sig",
        "se",
        "sp",
        "sv",
        "st",
        "X-Amz-Signature",
        "X-Amz-Credential",
        "X-Amz-Security-Token",
        "X-Goog-Signature",
        "AWSAccessKeyId",
        "Signature",
        "token",
        "access_token",
        "api_key",
        "apikey",
        "key",
        "subscription-key",
        "code",
        "Policy",
        "Key-Pair-Id",
        "anything",
    ]
)
FRAMES = st.sampled_from(
    ["{}", "/vsicurl/{}", "/vsizip//vsicurl/{}", "/vsizip/{{/vsicurl/{}}}/in.tif", "WMS:{}", "vrt://{}", 'ZARR:"{}":/a',
     "vrt:///vsicurl/{}", "/vsigzip//vsicurl_streaming/{}", 'STACIT:"{}":asset=visual'],
)  # fmt: skip


@st.composite
def secret_paths(draw):
    """A path and the secrets in it."""
    user, password, value, header = (draw(SECRETS) for _ in range(4))
    url = f"https://{quote(user, safe='')}:{quote(password, safe='')}@host:8080/d/scene.tif?layers=a&{draw(NAMES)}="
    url += quote(value, safe=draw(st.sampled_from(["", "/", "/=+"])))
    secrets = [user, password, value]
    frame = draw(FRAMES)
    for _ in range(draw(st.integers(0, 2))):
        url = f"https://proxy/{quote(url, safe='')}"
    if draw(st.booleans()):
        options = f"header.Authorization={quote('Bearer ' + header)}&url={quote(url, safe='')}&max_retry=3"
        return f"/vsicurl?{options}", [*secrets, header]
    return frame.format(url), secrets


@given(secret_paths())
def test_no_secret_is_in_the_public_form(given_path):
    path, secrets = given_path
    shown = public_form(path)
    for secret in secrets:
        assert secret not in shown
        assert quote(secret, safe="") not in shown
    assert "host" in shown
    assert public_form(shown) == shown


@given(
    secret_paths(),
    st.sampled_from(["{}: no such file", "cannot read '{}': 403", "`{}' not recognized", "({})", "a {}."]),
)
def test_no_secret_is_in_a_message_that_quotes_a_path(given_path, sentence):
    path, secrets = given_path
    for line in (public_text(sentence.format(path)), public_text(sentence.format(path), [path])):
        assert not any(secret in line for secret in secrets)
        assert public_text(line) == line


@given(st.text(), st.sampled_from(["", "https://host/", "/vsicurl/", "PG:", "<", "/vsicurl?", "vrt://"]))
def test_any_text_has_a_public_form_which_is_its_own(text, begin):
    shown = public_form(begin + text)
    assert public_form(shown) == shown
    public_text(text)


@pytest.mark.parametrize(
    "path",
    [
        "a.tif", "./-dash.tif", "/data/key=1/x?y.tif", "me@home/x.tif", "[north].tif", "a;b.tif", "a%20b#7.tif",
        "C:\\data\\x.tif", "C://data/x.tif", "s3://bucket/a b/k.tif", "/vsis3/bucket/k.tif", "/vsizip/x.zip/a.tif",
        "https://host/a%20b/x.tif", "https://host/a%3Fb.tif", "https://host/@x/a.tif", "http://[::1]:80/x.tif",
        "https://host/wms?SERVICE=WMS&LAYERS=a,b", "https://host/x.tif?signed=1",
        "http://[::1", 'NETCDF:"a.nc":b', "GTIFF_DIR:2:a.tif",
    ],
)  # fmt: skip
def test_what_holds_no_secret_stays_as_it_is(path):
    assert public_form(path) == path
    assert public_text(path) == path


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("PG:host=h user=me password='a b' dbname=d", "PG:host=h dbname=d"),
        ("OCI:me/SECRET@base", "OCI:"),
        ("<GDAL_WMS><Service><ServerUrl>https://me:SECRET@h</ServerUrl>", "<GDAL_WMS>"),
        ("/vsicrypt/key=SECRET,file=/a/x.tif", "/vsicrypt/file=/a/x.tif"),
        ("https:/me:SECRET@h/x?sig=SECRET", "https:/h/x"),
        ("https://me:SEC/RET@h/x.tif", "https://h/x.tif"),
        ("https://h/x.tif#access_token=SECRET", "https://h/x.tif"),
        ("https://h/x;jsessionid=SECRET/a;b.tif", "https://h/x/a;b.tif"),
        ("https://h/x%253Fsig%253DSECRET", "https://h/x"),
        ("downloads/scene.tif?sv=2020&sig=SECRET", "downloads/scene.tif"),
    ],
)
def test_other_places_of_secrets(path, shown):
    assert public_form(path) == shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("GET /x.tif?sig=SECRET&se=a failed", "GET /x.tif?sig=***&se=*** failed"),
        ("Authorization: Bearer SECRET was refused", "Authorization: *** was refused"),
        ("<UserPwd>me:SECRET</UserPwd>", "<UserPwd>***</UserPwd>"),
        ("password='SE CRET' dbname=x", "password=*** dbname=x"),
        ("class key=4: see https://gdal.org/a.", "class key=4: see https://gdal.org/a."),
    ],
)
def test_secrets_in_what_libraries_say(line, shown):
    assert public_text(line) == shown


def test_parts_of_a_known_path_are_hidden_wherever_they_stand():
    known = "https://me:pass%20word@h/x.tif?sig=abcdef"
    assert public_text("bad user pass word, bad abcdef", [known]) == "bad user ***, bad ***"


def test_a_long_message_takes_no_time():
    public_text("x" * 10**6 + "-" * 10**5)
    public_form("x" * 10**6)


def test_an_error_never_holds_a_secret():
    assert (
        str(SceneError("https://me:SECRET@h/x.tif?sig=SECRET cannot be opened")) == "https://h/x.tif cannot be opened"
    )
