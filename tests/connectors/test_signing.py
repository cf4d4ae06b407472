"""Signatures: only a trusted key's, only over these very bytes, only for this purpose."""

import os

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from connectors.signing import Signer, make_key, verify
from tidemill.errors import ConfigError, SignatureError


@pytest.fixture
def signer(tmp_path):
    make_key(tmp_path / "keys" / "k.pem")
    return Signer(tmp_path / "keys" / "k.pem")


def test_a_key_is_its_owners_alone_and_never_overwritten(tmp_path):
    path = tmp_path / "k.pem"
    public = make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Signer(path).public == public
    with pytest.raises(ConfigError, match="already"):
        make_key(path)
    assert Signer(path).public == public


def test_what_was_signed_is_verified(signer):
    signature = signer.sign("c", b"data")
    assert signature == signer.sign("c", b"data")
    assert verify("c", b"data", signature, {signer.public}, "here") == signer.public


@pytest.mark.parametrize(("context", "data"), [("c", b"Data"), ("d", b"data"), ("c\0d", b"ata"), ("c", b"")])
def test_other_bytes_or_another_purpose(signer, context, data):
    with pytest.raises(SignatureError, match="here"):
        verify(context, data, signer.sign("c", b"data"), {signer.public}, "here")


def test_a_key_that_is_not_trusted(signer, tmp_path):
    make_key(tmp_path / "other.pem")
    other = Signer(tmp_path / "other.pem")
    with pytest.raises(SignatureError, match="not trusted"):
        verify("c", b"data", other.sign("c", b"data"), {signer.public}, "here")
    with pytest.raises(SignatureError, match="there are none"):
        verify("c", b"data", signer.sign("c", b"data"), set(), "here")
    forged = msgspec.json.encode(
        {"key": signer.public} | {"signature": msgspec.json.decode(other.sign("c", b"data"))["signature"]}
    )
    with pytest.raises(SignatureError, match="not for these bytes"):
        verify("c", b"data", forged, {signer.public}, "here")


@pytest.mark.parametrize(
    "signature",
    [b"", b"{}", b"\xff", b"null", b'{"key":"a","signature":"zz"}', b'{"key":"a","signature":"00","also":1}'],
)
def test_garbage_for_a_signature(signer, signature):
    with pytest.raises(SignatureError, match="here"):
        verify("c", b"data", signature, {signer.public, "a"}, "here")


def test_a_short_key_that_somebody_trusted():
    with pytest.raises(SignatureError):
        verify("c", b"data", b'{"key":"ab","signature":"00"}', {"ab"}, "here")


def test_keys_that_cannot_be_used(tmp_path):
    path = tmp_path / "k.pem"
    with pytest.raises(ConfigError, match="tidemill up"):
        Signer(path)
    make_key(path)
    os.chmod(path, 0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        Signer(path)
    path.unlink()
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for data in (b"", b"not a key", other):
        path.write_bytes(data)
        os.chmod(path, 0o600)
        with pytest.raises(ConfigError, match="Ed25519") as caught:
            Signer(path)
        assert "PRIVATE" not in str(caught.value)


def test_of_many_who_make_a_key_at_once_one_wins_and_nothing_is_left_over(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    def make(_):
        try:
            return make_key(tmp_path / "key")
        except ConfigError:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [public for public in pool.map(make, range(8)) if public]
    assert len(made) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
