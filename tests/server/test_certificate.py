"""Which certificate clients are shown after a renewal."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from trustme import KeyType

from gateway.server.certificate import Certificate, CertificateUnusable
from gateway.settings import TlsSettings


def write(authority: trustme.CA, folder: Path, kind: KeyType) -> bytes:
    """New files where `tls` looks for them; the certificate as clients see it."""
    made = authority.issue_cert("localhost", key_type=kind)
    made.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    return ssl.PEM_cert_to_DER_cert(made.cert_chain_pems[0].bytes().decode())


def seen(context: ssl.SSLContext, authority: trustme.CA, name: str | None) -> tuple[bytes | None, str | None]:
    """The certificate that a client is shown, and the protocol that is agreed on: a handshake in memory."""
    trust = ssl.create_default_context()
    trust.check_hostname = name is not None
    trust.set_alpn_protocols(["h2", "http/1.1"])
    authority.configure_trust(trust)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(down, up, server_hostname=name)
    server = context.wrap_bio(up, down, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.getpeercert(True), client.selected_alpn_protocol()


@pytest.mark.parametrize("name", ["localhost", None])
@pytest.mark.parametrize("kinds", [(KeyType.ECDSA, KeyType.RSA), (KeyType.RSA, KeyType.ECDSA)])
def test_a_key_of_another_type_takes_the_place_of_the_old_one(
    kinds: tuple[KeyType, KeyType], name: str | None, tmp_path: Path
):
    authority = trustme.CA()
    files = TlsSettings(cert=tmp_path / "cert.pem", key=tmp_path / "key.pem")
    first = write(authority, tmp_path, kinds[0])
    certificate = Certificate(files)
    assert seen(certificate.context, authority, name) == (first, "http/1.1")
    second = write(authority, tmp_path, kinds[1])
    certificate.renew(files)
    assert seen(certificate.context, authority, name) == (second, "http/1.1")
    files.key.write_text("nonsense")
    with pytest.raises(CertificateUnusable):
        certificate.renew(files)
    assert seen(certificate.context, authority, name) == (second, "http/1.1")
