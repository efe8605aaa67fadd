"""Certificates for tests, by the openssl command: an authority of their own, and what it signs."""

import hashlib
import ssl
import subprocess

NAMES = "DNS:localhost,IP:127.0.0.1,IP:192.0.2.7,DNS:*.lambda-url.us-east-1.localhost"
CA_CONFIG = """
[ca]
default_ca = own
[own]
dir = {folder}/ca
new_certs_dir = $dir
database = $dir/index
serial = $dir/serial
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
"""


class Authority:
    """Signs certificates below a folder; what it writes everybody may read, keys among it."""

    def __init__(self, folder):
        self.folder = folder
        ca = folder / "ca"
        ca.mkdir()
        (ca / "index").write_text("")
        (ca / "serial").write_text("01\n")
        self.config = folder / "ca.cnf"
        self.config.write_text(CA_CONFIG.format(folder=folder))
        self.key = self.make_key("authority")
        self.certificate = folder / "authority.pem"
        self.openssl("req", "-x509", "-key", self.key, "-subj", "/CN=authority of the tests",
                     "-days", "30", "-out", self.certificate)

    @staticmethod
    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True,
                       stdin=subprocess.DEVNULL, timeout=60)

    def make_key(self, name):
        path = self.folder / f"{name}.key"
        self.openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", path)
        path.chmod(0o644)
        return path

    def sign(self, name, key, names=NAMES, begins="20200101000000Z", ends="20600101000000Z"):
        """A certificate for `key`, and the authority's behind it."""
        request = self.folder / f"{name}.csr"
        extension = ["-addext", f"subjectAltName={names}"] if names else []
        self.openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", *extension, "-out", request)
        return self.sign_request(name, request, begins, ends)

    def sign_request(self, name, request, begins="20200101000000Z", ends="20600101000000Z"):
        """The same for whoever asks for it."""
        path = self.folder / f"{name}.pem"
        self.openssl("ca", "-batch", "-notext", "-config", self.config, "-cert", self.certificate,
                     "-keyfile", self.key, "-in", request, "-subj", f"/CN={name}", "-out", path,
                     "-startdate", begins, "-enddate", ends)
        path.write_text(path.read_text() + self.certificate.read_text())
        return path

    def context(self, protocols=("http/1.1",)):
        """What a client that trusts this authority speaks TLS with."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.set_alpn_protocols(list(protocols))
        return context


def fingerprint(path):
    """The SHA-256 of the first certificate of a file, as digits."""
    text = path.read_text()
    end = "-----END CERTIFICATE-----"
    first = text[text.index("-----BEGIN CERTIFICATE-----"):text.index(end) + len(end)]
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()
