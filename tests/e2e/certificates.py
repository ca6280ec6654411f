"""Certificate authorities and certificates, made with openssl for one run."""
import subprocess

# Every extension that Python asks for from 3.13 on (VERIFY_X509_STRICT).
CA_USAGE = "keyUsage=critical,keyCertSign,cRLSign"
KEY_IDS = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


def self_signed(folder, name, *more):
    """NAME.pem and its key NAME.key, for two days."""
    pem, key = folder / f"{name}.pem", folder / f"{name}.key"
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", *more,
            "-keyout", key, "-out", pem)
    return pem, key


class Authority:
    """A CA that signs certificates for any names."""

    def __init__(self, folder, name):
        self.folder = folder
        self.ca, self.key = self_signed(folder, name, "-addext", CA_USAGE)

    def certificate(self, name, alternatives, days=2):
        """NAME.pem holds certificate and key; NAME.crt and NAME.key lie beside it."""
        key, csr, crt, pem, ext = (self.folder / f"{name}.{e}" for e in ("key", "csr", "crt", "pem", "ext"))
        ext.write_text(f"subjectAltName={','.join(alternatives)}\n{KEY_IDS}")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", key, "-out", csr)
        openssl("x509", "-req", "-in", csr, "-CA", self.ca, "-CAkey", self.key, "-CAcreateserial",
                "-days", days, "-extfile", ext, "-out", crt)
        pem.write_bytes(crt.read_bytes() + key.read_bytes())
        return pem


def make_certificate(folder):
    """What HAProxy shows to clients: the CA's file and the certificate's."""
    authority = Authority(folder, "ca")
    return authority.ca, authority.certificate("gateway", ["DNS:localhost", "IP:127.0.0.1"])
