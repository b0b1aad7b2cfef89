"""Publishers on this machine: doi.org, zenodo.org and huggingface.co, with a certificate."""

import http.server
import shutil
import ssl
import subprocess
import threading

import pytest
from huggingface_hub import close_session

HOSTS = ("doi.org", "zenodo.org", "huggingface.co", "mirror.institute")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Key and certificate of the publishers' names, made by openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    names = ",".join(f"DNS:{host}" for host in HOSTS)
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=archive"
    command += f" -addext subjectAltName={names} -keyout key.pem -out certificate.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder / "key.pem", folder / "certificate.pem"


@pytest.fixture
def archive(certificate, mirror, monkeypatch):
    """Take the publishers' place; gives the answers, to be filled, by address.

    An answer is a status and a body, or where one is sent on to; and further headers.
    """
    (key, certificate), answers = certificate, {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def connect(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.host = handler.path.removesuffix(":443")
        handler.connection = context.wrap_socket(handler.connection, server_side=True)
        handler.rfile = handler.connection.makefile("rb")
        handler.wfile = handler.connection.makefile("wb")
        handler.close_connection = False

    def get(handler):
        status, body, *more = answers.get(handler.host + handler.path, (404, b""))
        handler.send_response(status)
        headers = dict(*more)
        if status == 302:
            headers["Location"], body = body, b""
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
        handler.wfile.flush()
        handler.connection.close()

    methods = {"do_CONNECT": connect, "do_GET": get, "do_HEAD": get}
    methods["log_message"] = lambda *_: None
    proxy = type("Proxy", (http.server.BaseHTTPRequestHandler,), methods)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), proxy) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.server_port}")
        for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.setenv(name, str(certificate))
        # The hub's library keeps connections, and the proxy that it knew.
        close_session()
        yield answers
        close_session()
        server.shutdown()
        thread.join()
