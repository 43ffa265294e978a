"""How python-tds is told to trust a certificate that nobody has signed."""


def options(tls):
    if tls != "tls":
        return {}
    from OpenSSL import SSL
    from pytds import tls as pytds_tls

    context = SSL.Context(SSL.TLS_METHOD)
    context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
    pytds_tls.create_context = lambda cafile: context
    return {"cafile": "any", "enc_login_only": False, "validate_host": False}
