"""The certificate that the gateway shows where `tls` is set: one context for all listeners, renewed in place."""

from __future__ import annotations

import ssl
from typing import Any

from gateway.settings import ConfigErrors, ConfigProblem, TlsSettings


class CertificateUnusable(ConfigErrors):
    """The files of `tls` are no certificate and its key."""

    def __init__(self, message: str) -> None:
        super().__init__([ConfigProblem("tls", message)])


class Certificate:
    """`context` is what listeners are opened with. Raises CertificateUnusable.

    Every handshake goes on with the context of the newest files. Loaded into one that has a certificate already, they
    would stand beside it where their keys are of another type (RSA, ECDSA): OpenSSL keeps one of each
    (https://docs.openssl.org/3.0/man3/SSL_CTX_use_certificate/), and clients could still be shown the old one."""

    def __init__(self, files: TlsSettings) -> None:
        self._newest = self.context = _loaded(files)
        self.context.sni_callback = self._greet

    def renew(self, files: TlsSettings) -> None:
        """New connections are shown what the files hold now. Raises CertificateUnusable, and nothing has changed."""
        self._newest = _loaded(files)

    def _greet(self, connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called for each handshake, whether the client names a host or not."""
        connection.context = self._newest


def check_certificate(files: TlsSettings) -> None:
    """Raises CertificateUnusable."""
    _loaded(files)


def _loaded(files: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.cert, files.key, password=_no_password)
    except ssl.SSLError as error:
        raise CertificateUnusable(f"{_why(error)} (cert: {files.cert}, key: {files.key})") from None
    except OSError as error:
        raise CertificateUnusable(f"can't read {error.filename or files.cert}: {error.strerror}") from None
    except ValueError:
        raise CertificateUnusable(f"{files.key} wants a password: give a key without one") from None
    return context


def _why(error: ssl.SSLError) -> str:
    if "MISMATCH" in (error.reason or ""):
        return "the key is not the certificate's"
    return "no PEM certificate with its private key is there; the certificate comes first, then its chain"


def _no_password() -> str:
    """Asked for where a key is encrypted: without this, OpenSSL would ask at the terminal, and wait."""
    raise ValueError
