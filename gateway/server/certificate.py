"""The certificate that the gateway shows where `tls` is set: one context for all listeners, renewed in place."""

from __future__ import annotations

import ssl

from gateway.settings import ConfigErrors, ConfigProblem, TlsSettings


class CertificateUnusable(ConfigErrors):
    """The files of `tls` are no certificate and its key."""

    def __init__(self, message: str) -> None:
        super().__init__([ConfigProblem("tls", message)])


class Certificate:
    """`context` is what listeners are opened with. Raises CertificateUnusable."""

    def __init__(self, files: TlsSettings) -> None:
        self.context = _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files)
        self.context.set_alpn_protocols(["http/1.1"])

    def renew(self, files: TlsSettings) -> None:
        """New connections are shown what the files hold now. Raises CertificateUnusable, and nothing has changed."""
        check_certificate(files)
        _loaded(self.context, files)


def check_certificate(files: TlsSettings) -> None:
    """Raises CertificateUnusable."""
    _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files)


def _loaded(context: ssl.SSLContext, files: TlsSettings) -> ssl.SSLContext:
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
