#!/usr/bin/env python3
"""The simulator's bytes: every endpoint, the faults and the waits.

Starts build/foundry-sim (or $SIM) on a free port. Standard library only.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BINARY = os.environ.get("SIM", os.path.join(ROOT, "build", "foundry-sim"))
TENANT = "11111111-1111-1111-1111-111111111111"
KEY = {"api-key": "sim-resource-key"}
CHAT = "/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-10-21"
AUDIENCE = "https://cognitiveservices.azure.com"

SAMPLE_A = (
    'data: {"choices":[],"created":0,"id":"","model":"","object":"",'
    '"prompt_filter_results":[{"prompt_index":0,"content_filter_results":'
    '{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"filtered":'
    'false,"detected":false},"self_harm":{"filtered":false,"severity":"safe"}'
    ',"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":'
    'false,"severity":"safe"}}}]}\n\n'
    'data: {"choices":[{"content_filter_results":{},"delta":{"content":"",'
    '"refusal":null,"role":"assistant"},"finish_reason":null,"index":0,'
    '"logprobs":null}],"created":T,"id":"chatcmpl-I","model":'
    '"gpt-4o-mini-2024-07-18","obfuscation":"O","object":'
    '"chat.completion.chunk","system_fingerprint":"fp_efad92c60b","usage":'
    'null}\n\n'
    'data: {"choices":[{"content_filter_results":{"hate":{"filtered":false,'
    '"severity":"safe"},"self_harm":{"filtered":false,"severity":"safe"},'
    '"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":'
    'false,"severity":"safe"}},"delta":{"content":" answer"},'
    '"finish_reason":null,"index":0,"logprobs":null}],"created":T,"id":'
    '"chatcmpl-I","model":"gpt-4o-mini-2024-07-18","obfuscation":"O",'
    '"object":"chat.completion.chunk","system_fingerprint":"fp_efad92c60b",'
    '"usage":null}\n\n'
    'data: {"choices":[{"content_filter_results":{},"delta":{},'
    '"finish_reason":"stop","index":0,"logprobs":null}],"created":T,"id":'
    '"chatcmpl-I","model":"gpt-4o-mini-2024-07-18","obfuscation":"O",'
    '"object":"chat.completion.chunk","system_fingerprint":"fp_efad92c60b",'
    '"usage":null}\n\n'
    'data: {"choices":[],"created":T,"id":"chatcmpl-I","model":'
    '"gpt-4o-mini-2024-07-18","obfuscation":"","object":'
    '"chat.completion.chunk","system_fingerprint":"fp_efad92c60b","usage":'
    '{"completion_tokens":1,"completion_tokens_details":'
    '{"accepted_prediction_tokens":0,"audio_tokens":0,"reasoning_tokens":0,'
    '"rejected_prediction_tokens":0},"prompt_tokens":3,'
    '"prompt_tokens_details":{"audio_tokens":0,"cached_tokens":0},'
    '"total_tokens":4}}\n\n'
    'data: [DONE]\n\n')


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        return json.loads(self.body)


class Sim:
    def __init__(self):
        self.proc = subprocess.Popen([BINARY, "--listen", "127.0.0.1:0"],
                                     stdout=subprocess.PIPE)
        line = self.proc.stdout.readline().decode()
        self.port = int(re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n",
                                     line).group(1))
        self.base = f"http://127.0.0.1:{self.port}"

    def call(self, method, path, body=None, headers=None):
        con = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        try:
            con.request(method, path, body, headers or {})
            with con.getresponse() as r:
                return Answer(r.status, r.headers, r.read())
        finally:
            con.close()

    def control(self, name, wish=None):
        a = self.call("POST", "/control/" + name, wish or {})
        assert a.status == 200, a.body
        return a

    def stats(self):
        return self.call("GET", "/control/stats").json()

    def last(self):
        return self.call("GET", "/control/requests").json()[-1]

    def wait(self, query):
        a = self.call("GET", "/control/wait?timeout_ms=20000&" + query)
        assert a.status == 200, a.body
        return a.json()

    def token(self, **wish):
        return self.control("token", wish).body.decode()

    def chat(self, body=None, headers=None, path=CHAT):
        whole = {"messages": [{"role": "user", "content": "hello, world"}]}
        whole.update(body or {})
        return self.call("POST", path, whole, {**KEY, **(headers or {})})

    def imds(self, resource=AUDIENCE, **more):
        query = {"api-version": "2018-02-01", "resource": resource, **more}
        return self.call("GET", "/metadata/identity/oauth2/token?" +
                         urllib.parse.urlencode(query), None,
                         {"Metadata": "true"})

    def end(self):
        self.proc.terminate()
        self.proc.stdout.close()
        return self.proc.wait(timeout=20)


def b64(b):
    return base64.urlsafe_b64encode(b).decode().rstrip("=")


def unb64(s):
    return base64.urlsafe_b64decode(s + "=" * (-len(s) % 4))


def parts(token):
    head, claims, _ = token.split(".")
    return json.loads(unb64(head)), json.loads(unb64(claims))


def rsa_open(token, jwk):
    """The PKCS#1 block that the signature opens to."""
    sig = int.from_bytes(unb64(token.split(".")[2]), "big")
    n = int.from_bytes(unb64(jwk["n"]), "big")
    e = int.from_bytes(unb64(jwk["e"]), "big")
    return pow(sig, e, n).to_bytes((n.bit_length() + 7) // 8, "big")


def rs256_good(token, jwk):
    digest = hashlib.sha256(token.rsplit(".", 1)[0].encode()).digest()
    info = bytes.fromhex("3031300d060960864801650304020105000420")
    block = rsa_open(token, jwk)
    want = b"\0\1" + b"\xff" * (len(block) - 54) + b"\0" + info + digest
    return block == want


def events(body):
    """[(event name or None, data)] of a stream; data parsed but [DONE]."""
    out = []
    text = body.decode()
    assert text.endswith("\n\n")
    for block in text[:-2].split("\n\n"):
        name = None
        for line in block.split("\n"):
            if line.startswith("event: "):
                name = line[7:]
            else:
                assert line.startswith("data: "), line
                data = line[6:]
        out.append((name, data if data == "[DONE]" else json.loads(data)))
    return out


class SimTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sim = Sim()

    @classmethod
    def tearDownClass(cls):
        assert cls.sim.end() == 0, "foundry-sim did not end cleanly"

    def setUp(self):
        self.sim.wait("streams_open=0")
        self.sim.control("reset")


class Entra(SimTest):
    def keys(self, v2=True):
        path = "/discovery/v2.0/keys" if v2 else "/discovery/keys"
        return self.sim.call("GET", f"/{TENANT}{path}").json()["keys"]

    def test_metadata_of_both_versions(self):
        base = f"{self.sim.base}/{TENANT}"
        for mid, issuer, keys in (
                ("", base + "/", base + "/discovery/keys"),
                ("/v2.0", base + "/v2.0", base + "/discovery/v2.0/keys")):
            a = self.sim.call(
                "GET", f"/{TENANT}{mid}/.well-known/openid-configuration")
            self.assertEqual(a.status, 200)
            self.assertEqual(a.headers["Cache-Control"],
                             "max-age=86400, private")
            self.assertEqual(a.json()["issuer"], issuer)
            self.assertEqual(a.json()["jwks_uri"], keys)

    def test_unknown_tenant(self):
        a = self.sim.call("GET", "/22222222-0000-0000-0000-000000000000/v2.0"
                                 "/.well-known/openid-configuration")
        self.assertEqual(a.status, 400)
        self.assertEqual(a.json()["error_codes"], [90002])

    def test_jwks_members(self):
        for v2 in (True, False):
            keys = self.keys(v2)
            self.assertGreater(len(keys), 1)
            for k in keys:
                self.assertEqual(set(k), {
                    "kty", "use", "kid", "x5t", "n", "e", "x5c", "issuer",
                    "cloud_instance_name"})
                der = base64.b64decode(k["x5c"][0])
                x5t = base64.urlsafe_b64encode(hashlib.sha1(der).digest())
                self.assertEqual(k["x5t"], x5t.decode().rstrip("="))
                self.assertEqual(len(unb64(k["n"])), 256)

    def test_token_of_each_version_verifies(self):
        keys = {k["kid"]: k for k in self.keys()}
        for version in ("1.0", "2.0"):
            t = self.sim.token(version=version)
            head, claims = parts(t)
            self.assertTrue(rs256_good(t, keys[head["kid"]]))
            self.assertEqual(head["alg"], "RS256")
            self.assertEqual("x5t" in head, version == "1.0")
            self.assertEqual(claims["ver"], version)
            self.assertEqual("appid" in claims, version == "1.0")
            self.assertEqual("azp" in claims, version == "2.0")
            self.assertEqual(claims["roles"], ["Gateway.Use"])
            self.assertEqual(claims["exp"] - claims["iat"], 3600)

    def test_claims_and_header_are_overridden_or_removed(self):
        head, claims = parts(self.sim.token(
            claims={"roles": None, "aud": "x", "extra": [1]},
            header={"kid": None, "typ": "at+jwt"}))
        self.assertNotIn("roles", claims)
        self.assertEqual(claims["aud"], "x")
        self.assertEqual(claims["extra"], [1])
        self.assertNotIn("kid", head)
        self.assertEqual(head["typ"], "at+jwt")

    def test_alg_none_has_no_signature(self):
        for alg in ("none", "nOnE"):
            t = self.sim.token(header={"alg": alg})
            self.assertEqual(t.split(".")[2], "")
            self.assertEqual(parts(t)[0]["alg"], alg)

    def test_hs256_keyed_with_the_public_key(self):
        t = self.sim.token(header={"alg": "HS256"}, hmac_key="modulus")
        jwk = {k["kid"]: k for k in self.keys()}[parts(t)[0]["kid"]]
        text, sig = t.rsplit(".", 1)
        for form, secret in (("modulus", unb64(jwk["n"])), ("pem", None),
                             ("der", None)):
            if secret is None:
                der = self.spki(jwk)
                secret = der if form == "der" else self.pem(der)
            t = self.sim.token(header={"alg": "HS256"}, hmac_key=form)
            text, sig = t.rsplit(".", 1)
            self.assertEqual(
                unb64(sig),
                hmac.new(secret, text.encode(), hashlib.sha256).digest())

    @staticmethod
    def spki(jwk):
        def tlv(tag, body):
            n = len(body)
            size = bytes([n]) if n < 128 else bytes(
                [0x80 + (n.bit_length() + 7) // 8]) + n.to_bytes(
                    (n.bit_length() + 7) // 8, "big")
            return bytes([tag]) + size + body

        rsa = tlv(0x30, tlv(2, b"\0" + unb64(jwk["n"])) +
                  tlv(2, unb64(jwk["e"])))
        alg = bytes.fromhex("300d06092a864886f70d0101010500")
        return tlv(0x30, alg + tlv(3, b"\0" + rsa))

    @staticmethod
    def pem(der):
        text = base64.b64encode(der).decode()
        lines = "\n".join(text[i:i + 64] for i in range(0, len(text), 64))
        return (f"-----BEGIN PUBLIC KEY-----\n{lines}\n"
                "-----END PUBLIC KEY-----\n").encode()

    def test_other_algorithms_really_sign_so(self):
        keys = {k["kid"]: k for k in self.keys()}
        t = self.sim.token(header={"alg": "RS512"})
        block = rsa_open(t, keys[parts(t)[0]["kid"]])
        digest = hashlib.sha512(t.rsplit(".", 1)[0].encode()).digest()
        self.assertTrue(block.startswith(b"\0\1\xff"))
        self.assertTrue(block.endswith(digest))
        t = self.sim.token(header={"alg": "PS256"})
        block = rsa_open(t, keys[parts(t)[0]["kid"]])
        self.assertEqual(block[-1], 0xbc)
        self.assertFalse(rs256_good(t, keys[parts(t)[0]["kid"]]))

    def test_key_other_is_in_no_jwks(self):
        t = self.sim.token(key="other")
        self.assertNotIn(parts(t)[0]["kid"], [k["kid"] for k in self.keys()])

    def test_raw_parts_are_taken_as_they_are(self):
        t = self.sim.token(raw={"payload": '{"tid":"a","tid":"b"}',
                                "suffix": ".x"})
        self.assertEqual(unb64(t.split(".")[1]), b'{"tid":"a","tid":"b"}')
        self.assertEqual(t.split(".")[3], "x")

    def test_rotation_keeps_or_drops_the_old_keys(self):
        before = {k["kid"] for k in self.keys()}
        kid = self.sim.control("rotate").json()["kid"]
        self.assertEqual({k["kid"] for k in self.keys()}, before | {kid})
        self.assertEqual(parts(self.sim.token())[0]["kid"], kid)
        kid = self.sim.control("rotate", {"drop_old": True}).json()["kid"]
        self.assertEqual([k["kid"] for k in self.keys()], [kid])
        newer = self.sim.control("rotate").json()["kid"]
        self.sim.control("drop-key", {"kid": kid})
        self.assertEqual([k["kid"] for k in self.keys()], [newer])

    def post_token(self, **form):
        return self.sim.call(
            "POST", f"/{TENANT}/oauth2/v2.0/token",
            urllib.parse.urlencode(form),
            {"Content-Type": "application/x-www-form-urlencoded"})

    def test_client_secret(self):
        form = {"client_id": "app", "grant_type": "client_credentials",
                "scope": AUDIENCE + "/.default"}
        a = self.post_token(client_secret="sim-client-secret", **form)
        self.assertEqual(a.status, 200)
        self.assertEqual(a.json()["token_type"], "Bearer")
        self.assertIsInstance(a.json()["expires_in"], int)
        claims = parts(a.json()["access_token"])[1]
        self.assertEqual(claims["aud"], AUDIENCE)
        self.assertEqual(claims["appid"], "app")
        a = self.post_token(client_secret="wrong", **form)
        self.assertEqual(a.status, 401)
        self.assertEqual(a.json()["error"], "invalid_client")
        self.assertEqual(a.json()["error_codes"], [7000215])
        self.assertRegex(a.json()["error_description"],
                         "^AADSTS7000215: .*Trace ID: ")
        form["scope"] = AUDIENCE
        a = self.post_token(client_secret="sim-client-secret", **form)
        self.assertEqual(a.json()["error"], "invalid_scope")

    def test_federated_assertion(self):
        form = {"client_id": "app", "grant_type": "client_credentials",
                "scope": AUDIENCE + "/.default", "client_assertion_type":
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
        good = self.sim.token(claims={"aud": "api://AzureADTokenExchange"})
        old = self.sim.token(claims={"aud": "api://AzureADTokenExchange",
                                     "exp": 1})
        for assertion, status in ((good, 200), (old, 401), ("a.b.c", 401),
                                  (self.sim.token(), 401)):
            a = self.post_token(client_assertion=assertion, **form)
            self.assertEqual(a.status, status)

    def test_federated_subject(self):
        form = {"client_id": "app", "grant_type": "client_credentials",
                "scope": AUDIENCE + "/.default", "client_assertion_type":
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
        self.sim.control("defaults", {"federated_subject": "pod"})
        for subject, status in (("pod", 200), ("other", 401)):
            a = self.post_token(client_assertion=self.sim.token(claims={
                "aud": "api://AzureADTokenExchange", "sub": subject}), **form)
            self.assertEqual(a.status, status)

    def assert_assertion(self, codes, folder, pem, header=None, **claims):
        """What the token endpoint says to an assertion signed by openssl."""
        url = f"{self.sim.base}/{TENANT}/oauth2/v2.0/token"
        now = int(time.time())
        der = subprocess.run(["openssl", "x509", "-in", pem, "-outform",
                              "DER"], check=True, capture_output=True).stdout
        head = {"alg": "PS256", "typ": "JWT",
                "x5t#S256": b64(hashlib.sha256(der).digest()),
                **(header or {})}
        body = {"aud": url, "iss": "app", "sub": "app", "jti": "1",
                "nbf": now, "exp": now + 300, **claims}
        text = ".".join(b64(json.dumps(o).encode()) for o in (head, body))
        sig = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign",
             os.path.join(folder, "key"), "-sigopt", "rsa_padding_mode:pss",
             "-sigopt", "rsa_pss_saltlen:digest"],
            input=text.encode(), check=True, capture_output=True).stdout
        a = self.post_token(
            client_id="app", grant_type="client_credentials",
            scope=AUDIENCE + "/.default", client_assertion_type=
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            client_assertion=f"{text}.{b64(sig)}")
        self.assertEqual(a.json().get("error_codes"), codes, a.body)

    def test_certificate_assertion(self):
        with tempfile.TemporaryDirectory() as d:
            pems = []
            for name in ("other", "key"):
                pems.append(os.path.join(d, name + ".pem"))
                subprocess.run(
                    ["openssl", "req", "-x509", "-newkey", "rsa:2048",
                     "-nodes", "-subj", "/CN=app", "-days", "2", "-keyout",
                     os.path.join(d, name), "-out", pems[-1]],
                    check=True, capture_output=True)
            other, pem = pems
            self.assert_assertion([700027], d, pem)  # none is registered
            with open(pem, encoding="ascii") as f:
                self.sim.control("defaults", {"certificate": f.read()})
            now = int(time.time())
            self.assert_assertion(None, d, pem)
            self.assert_assertion([700027], d, other)
            self.assert_assertion([700027], d, pem, aud="x")
            self.assert_assertion([700027], d, pem, iss="x", header={
                "x5t#S256": "x"})
            self.assert_assertion([700027], d, pem, sub="x")
            self.assert_assertion([700027], d, pem, exp=now + 3600)
            self.assert_assertion([700027], d, pem, nbf=now + 120,
                                  exp=now + 300)
            self.assert_assertion([700024], d, pem, exp=now - 1)
            # what was signed is not what is said
            self.assert_assertion([700027], d, pem, {"alg": "RS256"})


class Identity(SimTest):
    def test_imds_strings(self):
        a = self.sim.imds(AUDIENCE + "/")
        self.assertEqual(a.status, 200)
        o = a.json()
        for name, value in o.items():
            self.assertIsInstance(value, str, name)
        self.assertEqual(o["resource"], AUDIENCE + "/")
        self.assertEqual(o["token_type"], "Bearer")
        claims = parts(o["access_token"])[1]
        self.assertEqual(claims["aud"], AUDIENCE + "/")
        self.assertEqual(claims["appidacr"], "2")
        self.assertIn("virtualMachines", claims["xms_mirid"])
        self.assertEqual(claims["exp"] - claims["iat"], 86700)

    def test_imds_user_assigned(self):
        o = self.sim.imds(client_id="abc").json()
        self.assertEqual(o["client_id"], "abc")
        claims = parts(o["access_token"])[1]
        self.assertEqual(claims["appid"], "abc")
        self.assertIn("userAssignedIdentities", claims["xms_mirid"])

    def test_imds_refusals(self):
        path = "/metadata/identity/oauth2/token"
        query = "?api-version=2018-02-01&resource=x"
        yes = {"Metadata": "true"}
        for target, headers, error in (
                (path + query, {}, "bad_request_102"),
                (path + query, {**yes, "X-Forwarded-For": "1.2.3.4"},
                 "bad_request_101"),
                (path + "?resource=x", yes, "bad_request_100"),
                (path + "?api-version=2018-02-01", yes, "invalid_resource"),
                (path + query + "&client_id=a&object_id=b", yes,
                 "invalid_request"),
                (path + query + "&client_id=missing", yes,
                 "invalid_request")):
            a = self.sim.call("GET", target, None, headers)
            self.assertEqual((a.status, a.json()["error"]), (400, error))
            self.assertIn("error_description", a.json())
        self.sim.control("defaults", {"system_assigned": False})
        self.assertEqual(self.sim.imds().json()["error_description"],
                         "Identity not found")

    def test_app_service(self):
        path = "/msi/token?api-version=2019-08-01&resource=" + AUDIENCE
        good = {"X-IDENTITY-HEADER": "sim-identity-header"}
        o = self.sim.call("GET", path, None, good).json()
        self.assertIsInstance(o["expires_on"], str)
        self.assertNotIn("expires_in", o)
        for headers, target, status in (
                ({}, path, 401), ({"X-IDENTITY-HEADER": "no"}, path, 401),
                (good, "/msi/token?api-version=2019-08-01", 400)):
            a = self.sim.call("GET", target, None, headers)
            self.assertEqual((a.status, a.json()["statusCode"]),
                             (status, status))

    def test_arc_challenge(self):
        self.sim.control("defaults", {"arc_realm": "/var/x.key",
                                      "arc_secret": "s3"})
        path = ("/metadata/identity/oauth2/token?api-version=2020-06-01"
                "&resource=" + AUDIENCE)
        a = self.sim.call("GET", path, None, {"Metadata": "true"})
        self.assertEqual(a.status, 401)
        self.assertEqual(a.headers["WWW-Authenticate"],
                         "Basic realm=/var/x.key")
        a = self.sim.call("GET", path, None, {
            "Metadata": "true", "Authorization": "Basic s3"})
        self.assertEqual(a.status, 200)


class Credentials(SimTest):
    def with_headers(self, headers, path=CHAT):
        return self.sim.call(
            "POST", path, {"model": "m", "messages": []}, headers)

    def test_token_of_imds_is_accepted_for_either_audience(self):
        for aud in (AUDIENCE, AUDIENCE + "/", "https://ai.azure.com",
                    "https://ai.azure.com/"):
            t = self.sim.imds(aud).json()["access_token"]
            a = self.with_headers({"Authorization": "Bearer " + t})
            self.assertEqual(a.status, 200)

    def test_project_endpoint_wants_the_foundry_audience(self):
        path = "/api/projects/p/openai/v1/chat/completions"
        for aud, status in ((AUDIENCE, 401), ("https://ai.azure.com", 200)):
            t = self.sim.imds(aud).json()["access_token"]
            a = self.with_headers({"Authorization": "Bearer " + t}, path)
            self.assertEqual(a.status, status)

    def test_caller_token_forwarded_upstream(self):
        for token in (self.sim.token(), self.sim.token(
                claims={"aud": AUDIENCE})):
            a = self.with_headers({"Authorization": "Bearer " + token})
            self.assertEqual(a.status, 401)
            self.assertEqual(a.body.decode(), (
                '{ "statusCode": 401, "message": "Unauthorized. Access token '
                'is missing, invalid, audience is incorrect '
                '(https://cognitiveservices.azure.com), or have expired." }'))

    def test_wrong_audience_and_revoked_token(self):
        t = self.sim.imds("https://management.azure.com").json()
        a = self.with_headers({"Authorization": "Bearer " +
                               t["access_token"]})
        self.assertEqual(a.status, 401)
        t = self.sim.imds().json()["access_token"]
        self.sim.control("revoke")
        a = self.with_headers({"Authorization": "Bearer " + t})
        self.assertEqual(a.status, 401)

    def test_good_credential_beside_a_leaked_one(self):
        t = self.sim.imds().json()["access_token"]
        for extra in ({"api-key": "callers-key"}, {"x-api-key": "k"}):
            a = self.with_headers({"Authorization": "Bearer " + t, **extra})
            self.assertEqual(a.status, 401)
            self.assertIn("invalid subscription key", a.body.decode())

    def test_resource_key_in_every_place(self):
        for headers in (KEY, {"x-api-key": "sim-resource-key"},
                        {"Authorization": "Bearer sim-resource-key"}):
            self.assertEqual(self.with_headers(headers).status, 200)
        self.assertEqual(self.with_headers({}).status, 401)
        self.sim.control("defaults", {"auth": False})
        self.assertEqual(self.with_headers({}).status, 200)


class Chat(SimTest):
    def test_stream_is_byte_for_byte_what_azure_sent(self):
        self.sim.control("defaults", {"text": " answer"})
        a = self.sim.chat({"stream": True,
                           "stream_options": {"include_usage": True}})
        self.assertEqual(a.headers["Content-Type"],
                         "text/event-stream; charset=utf-8")
        self.assertEqual(a.headers["Transfer-Encoding"], "chunked")
        text = a.body.decode()
        self.assertEqual(len(set(re.findall(r"chatcmpl-\w{29}", text))), 1)
        text = re.sub(r'"created":[1-9]\d*', '"created":T', text)
        text = re.sub(r"chatcmpl-\w{29}", "chatcmpl-I", text)
        text = re.sub(r'"obfuscation":"\w+"', '"obfuscation":"O"', text)
        self.assertEqual(text, SAMPLE_A)

    def test_no_usage_unless_asked_for(self):
        a = self.sim.chat({"stream": True})
        self.assertNotIn(b'"usage"', a.body)
        self.assertTrue(a.body.endswith(b"data: [DONE]\n\n"))
        self.assertFalse(self.sim.last()["usage"]["told"])

    def test_whole_answer_ends_in_usage(self):
        a = self.sim.chat(headers={"x-sim-tokens": "2",
                                   "x-sim-cached-tokens": "1"})
        self.assertEqual(a.headers["Content-Type"], "application/json")
        self.assertTrue(a.body.endswith(
            b'"usage":{"completion_tokens":2,"completion_tokens_details":'
            b'{"accepted_prediction_tokens":0,"audio_tokens":0,'
            b'"reasoning_tokens":0,"rejected_prediction_tokens":0},'
            b'"prompt_tokens":3,"prompt_tokens_details":{"audio_tokens":0,'
            b'"cached_tokens":1},"total_tokens":5}}'))
        members = list(a.json())
        self.assertEqual(members, sorted(members))

    def test_prompt_tokens_are_text_bytes_by_four(self):
        parts_ = [{"type": "text", "text": "\u00e9" * 6},
                  {"type": "image_url", "image_url": {"url": "data:" +
                                                      "A" * 999}}]
        for content, tokens in (("", 1), ("abc", 1), ("a" * 8, 2),
                                ("\u20ac" * 4, 3), (parts_, 3)):
            a = self.sim.chat({"messages": [{"role": "user",
                                             "content": content}]})
            self.assertEqual(a.json()["usage"]["prompt_tokens"], tokens)

    def test_max_tokens_cut_the_answer(self):
        for name in ("max_tokens", "max_completion_tokens"):
            o = self.sim.chat({name: 3}).json()
            self.assertEqual(o["usage"]["completion_tokens"], 3)
            self.assertEqual(o["choices"][0]["finish_reason"], "length")

    def test_several_choices(self):
        o = self.sim.chat({"n": 3}, {"x-sim-tokens": "2"}).json()
        self.assertEqual(len(o["choices"]), 3)
        self.assertEqual(o["usage"]["completion_tokens"], 6)
        a = self.sim.chat({"n": 2, "stream": True}, {"x-sim-tokens": "2"})
        seen = [c["index"] for _, d in events(a.body)[1:-1]
                for c in d["choices"]]
        self.assertEqual(seen, [0, 1] * 4)

    def test_tool_call(self):
        tool = {"x-sim-tool": "get_weather"}
        a = self.sim.chat({"stream": True}, tool)
        deltas = [d["choices"][0] for _, d in events(a.body)[1:-1]]
        call = deltas[1]["delta"]["tool_calls"][0]
        self.assertEqual(call["function"]["name"], "get_weather")
        text = "".join(d["delta"]["tool_calls"][0]["function"]["arguments"]
                       for d in deltas if "tool_calls" in d["delta"])
        self.assertEqual(json.loads(text), {})
        self.assertEqual(deltas[-1]["finish_reason"], "tool_calls")

    def test_async_filter_comes_behind_finish_reason(self):
        a = self.sim.chat({"stream": True}, {"x-sim-async-filter": "1"})
        lines = a.body.decode().split("\n\n")
        self.assertIn('"finish_reason":"stop"', lines[-4])
        self.assertIn("content_filter_offsets", lines[-3])
        self.assertNotIn('"delta"', lines[-3])
        self.assertTrue(lines[-3].endswith("} "))

    def test_chunks_of_any_size_are_the_same_bytes(self):
        body = {"stream": True, "stream_options":
                {"include_usage": True, "include_obfuscation": False}}
        seen = set()
        for size in ("0", "1", "7"):
            a = self.sim.chat(body, {"x-sim-chunk": size, "x-sim-text":
                                     "a b"})
            text = re.sub(r'"created":\d+', "", a.body.decode())
            seen.add(re.sub(r"chatcmpl-\w+", "", text))
        self.assertEqual(len(seen), 1)

    def test_chunk_size_is_seen_on_the_wire(self):
        with socket.create_connection(("127.0.0.1", self.sim.port)) as s:
            body = b'{"stream":true,"messages":[]}'
            s.sendall(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: h\r\n"
                      b"Connection: close\r\napi-key: sim-resource-key\r\n"
                      b"x-sim-chunk: 5\r\nContent-Length: %d\r\n\r\n" %
                      len(body) + body)
            raw = b""
            while piece := s.recv(65536):
                raw += piece
        head, chunks = raw.split(b"\r\n\r\n", 1)
        self.assertTrue(chunks.startswith(b"5\r\ndata:\r\n5\r\n"))

    def test_headers(self):
        a = self.sim.chat(headers={"x-ms-client-request-id": "abc"})
        for name in ("apim-request-id", "x-request-id",
                     "azureml-model-session", "x-ratelimit-limit-requests",
                     "x-ratelimit-limit-tokens",
                     "x-ratelimit-remaining-requests",
                     "x-ratelimit-remaining-tokens"):
            self.assertIn(name, a.headers)
        for name, value in (("x-ms-region", "East US 2"),
                            ("x-accel-buffering", "no"),
                            ("x-ms-deployment-name", "gpt-4o-mini"),
                            ("x-ms-client-request-id", "abc"),
                            ("x-ratelimit-reset-tokens", "0")):
            self.assertEqual(a.headers[name], value)

    def test_stream_options_are_unknown_to_old_versions(self):
        body = {"stream": True, "stream_options": {"include_usage": True}}
        a = self.sim.chat(body, path=CHAT.replace("2024-10-21", "2024-02-01"))
        self.assertEqual(a.status, 400)
        self.assertIn("stream_options", a.json()["error"]["message"])

    def test_completions(self):
        path = CHAT.replace("chat/", "")
        o = self.sim.chat({"prompt": "a" * 8}, path=path).json()
        self.assertEqual(o["object"], "text_completion")
        a = self.sim.chat({"stream": True, "stream_options":
                           {"include_usage": True}}, {"x-sim-tokens": "2"},
                          path=path)
        ev = events(a.body)
        self.assertEqual([e["choices"][0]["text"] for _, e in ev[:2]],
                         ["The", " quick"])
        self.assertEqual(ev[-2][1]["usage"]["completion_tokens"], 2)
        self.assertEqual(ev[-1][1], "[DONE]")


class OtherApis(SimTest):
    def test_embeddings(self):
        body = {"model": "e", "input": ["a" * 8, "b" * 8], "dimensions": 3}
        o = self.sim.call("POST", "/openai/v1/embeddings", body, KEY).json()
        self.assertEqual([len(d["embedding"]) for d in o["data"]], [3, 3])
        self.assertEqual(o["usage"], {"prompt_tokens": 4, "total_tokens": 4})
        body["encoding_format"] = "base64"
        o = self.sim.call("POST", "/openai/v1/embeddings", body, KEY).json()
        self.assertEqual(
            len(base64.b64decode(o["data"][0]["embedding"])), 12)

    def test_responses_stream(self):
        body = {"model": "r", "input": "a" * 8, "stream": True}
        for path in ("/openai/v1/responses",
                     "/openai/responses?api-version=2025-03-01-preview"):
            a = self.sim.call("POST", path, body, {**KEY,
                                                   "x-sim-tokens": "2"})
            ev = events(a.body)
            self.assertEqual([n for n, _ in ev], [
                "response.created", "response.in_progress",
                "response.output_item.added", "response.content_part.added",
                "response.output_text.delta", "response.output_text.delta",
                "response.output_text.done", "response.content_part.done",
                "response.output_item.done", "response.completed"])
            for i, (name, data) in enumerate(ev):
                self.assertEqual(data["type"], name)
                self.assertEqual(data["sequence_number"], i)
            self.assertIsNone(ev[0][1]["response"]["usage"])
            usage = ev[-1][1]["response"]["usage"]
            self.assertEqual((usage["input_tokens"], usage["output_tokens"],
                              usage["total_tokens"]), (2, 2, 4))
            self.assertNotIn(b"[DONE]", a.body)

    def test_responses_whole_and_incomplete(self):
        body = {"model": "r", "input": "a", "max_output_tokens": 2}
        o = self.sim.call("POST", "/openai/v1/responses", body, KEY).json()
        self.assertEqual(o["status"], "incomplete")
        self.assertEqual(o["incomplete_details"],
                         {"reason": "max_output_tokens"})
        self.assertEqual(o["usage"]["output_tokens"], 2)

    def test_anthropic_stream(self):
        body = {"model": "claude", "max_tokens": 99, "stream": True,
                "system": "abcd", "messages": [{"role": "user", "content":
                                                "abcdefgh"}]}
        a = self.sim.call("POST", "/anthropic/v1/messages", body,
                          {**KEY, "x-sim-tokens": "2"})
        ev = events(a.body)
        self.assertEqual([n for n, _ in ev], [
            "message_start", "content_block_start", "ping",
            "content_block_delta", "content_block_delta",
            "content_block_stop", "message_delta", "message_stop"])
        self.assertEqual(ev[0][1]["message"]["usage"]["input_tokens"], 3)
        self.assertEqual(ev[-2][1]["usage"], {"output_tokens": 2})
        self.assertIn(b'data: {"type": "ping"}\n', a.body)

    def test_anthropic_whole(self):
        body = {"model": "claude", "max_tokens": 2, "messages": []}
        o = self.sim.call("POST", "/anthropic/v1/messages", body, KEY).json()
        self.assertEqual(o["stop_reason"], "max_tokens")
        self.assertEqual(o["usage"]["output_tokens"], 2)

    def test_models_list(self):
        self.sim.control("deployments", {"deployments": [
            {"name": "d1", "model": "gpt-x"}, {"name": "d2"}]})
        o = self.sim.call("GET", "/openai/v1/models", None, KEY).json()
        self.assertEqual([m["id"] for m in o["data"]], ["d1", "d2"])

    def test_foundry_models_path(self):
        o = self.sim.chat({"model": "m"}, path="/models/chat/completions"
                          "?api-version=2024-05-01-preview").json()
        self.assertEqual(o["object"], "chat.completion")


class Refusals(SimTest):
    def test_missing_deployment(self):
        a = self.sim.chat(path=CHAT.replace("gpt-4o-mini", "missing-1"))
        self.assertEqual(a.status, 404)
        self.assertEqual(a.json()["error"]["code"], "DeploymentNotFound")
        self.sim.control("deployments", {"others": "missing",
                                         "deployments": [{"name": "d"}]})
        self.assertEqual(self.sim.chat().status, 404)
        self.assertEqual(
            self.sim.chat(path=CHAT.replace("gpt-4o-mini", "d")).status, 200)

    def test_dated_paths_need_an_api_version(self):
        a = self.sim.chat(path=CHAT.split("?")[0])
        self.assertEqual(a.status, 404)
        self.assertEqual(a.json()["error"]["message"], "Resource not found")

    def test_broken_json(self):
        for body in (b"", b"{", b"[]", b'{"a":01}', b'{"a":1}x',
                     b'{"a":"\xff"}', b'{"a":"\x01"}', b"{'a':1}",
                     b'{"a":1,}', b'{"a":.5}', b'{"a":"\\x"}', b"nul"):
            a = self.sim.call("POST", "/openai/v1/chat/completions", body,
                              KEY)
            self.assertEqual(a.status, 400, body)

    def model_that_ran(self, body):
        a = self.sim.call("POST", "/openai/v1/chat/completions", body, KEY)
        return a.status, self.sim.last().get("deployment")

    def test_duplicate_model_runs_the_last(self):
        self.assertEqual(self.model_that_ran(
            b'{"model":"cheap","messages":[],"model":"dear"}'), (200, "dear"))

    def test_escaped_key_is_the_key(self):
        self.assertEqual(self.model_that_ran(
            b'{"model":"cheap","m\\u006fdel":"dear"}'), (200, "dear"))

    def test_other_letter_case_is_another_key(self):
        self.assertEqual(self.model_that_ran(
            b'{"model":"cheap","MODEL":"dear"}'), (200, "cheap"))

    def test_nul_in_model_names_nobody(self):
        self.assertEqual(self.model_that_ran(
            b'{"model":"cheap\\u0000x"}'), (404, "cheap\0x"))

    def test_path_wins_over_body(self):
        self.sim.chat({"model": "dear"})
        self.assertEqual(self.sim.last()["deployment"], "gpt-4o-mini")

    def test_unknown_paths(self):
        for path in ("/", "/openai/v1/nothing", "/nothing"):
            self.assertEqual(self.sim.call("GET", path, None, KEY).status,
                             404)


class Limits(SimTest):
    def test_tokens_per_minute(self):
        self.sim.control("deployments", {"deployments": [
            {"name": "gpt-4o-mini", "tpm": 100}]})
        a = self.sim.chat({"max_tokens": 57})
        self.assertEqual(a.headers["x-ratelimit-limit-tokens"], "100")
        self.assertEqual(a.headers["x-ratelimit-remaining-tokens"], "40")
        a = self.sim.chat({"max_tokens": 57})
        self.assertEqual(a.status, 429)
        self.assertLessEqual(int(a.headers["retry-after"]), 60)
        self.assertGreater(int(a.headers["retry-after-ms"]), 1000)
        self.assertIn("exceeded token rate limit",
                      a.json()["error"]["message"])

    def test_one_request_over_the_limit_is_told_a_day(self):
        self.sim.control("deployments", {"deployments": [
            {"name": "gpt-4o-mini", "tpm": 100}]})
        a = self.sim.chat({"max_tokens": 1000})
        self.assertEqual(a.status, 429)
        self.assertEqual(a.headers["retry-after"], "86400")
        self.assertIn("86400 seconds", a.json()["error"]["message"])

    def test_requests_per_minute_per_host(self):
        self.sim.control("deployments", {"deployments": [
            {"name": "gpt-4o-mini", "host": "a.test", "rpm": 1}]})
        self.assertEqual([self.sim.chat(headers={"Host": h}).status
                          for h in ("a.test", "A.test:443", "b.test")],
                         [200, 429, 200])

    def test_ptu_utilization(self):
        self.sim.control("deployments", {"deployments": [
            {"name": "gpt-4o-mini", "tpm": 100, "ptu": True,
             "window_ms": 3600000}]})
        a = self.sim.chat({"max_tokens": 97})
        self.assertEqual(
            a.headers["azure-openai-deployment-utilization"], "100.0%")
        self.assertNotIn("x-ratelimit-limit-tokens", a.headers)
        self.sim.chat({"max_tokens": 97})
        a = self.sim.chat({"max_tokens": 97})
        self.assertEqual(a.status, 429)
        self.assertIn("retry-after-ms", a.headers)


class Faults(SimTest):
    def test_status_with_retry_after_so_many_times(self):
        self.sim.control("fault", {"status": 429, "retry_after": 2,
                                   "times": 2, "match":
                                   {"deployment": "gpt-4o-mini"}})
        for status in (429, 429, 200):
            a = self.sim.chat()
            self.assertEqual(a.status, status)
            if status == 429:
                self.assertEqual(a.headers["retry-after"], "2")
                self.assertEqual(a.headers["retry-after-ms"], "2000")
                self.assertEqual(a.json()["error"]["code"], "429")

    def test_matching(self):
        self.sim.control("fault", {"status": 500, "times": -1, "match": {
            "host": "bad.test", "path_contains": "/chat/",
            "endpoint": "data"}})
        self.assertEqual(self.sim.chat(headers={"Host": "bad.test"}).status,
                         500)
        self.assertEqual(self.sim.chat(headers={"Host": "good.test"}).status,
                         200)
        a = self.sim.call("GET", "/openai/v1/models", None,
                          {**KEY, "Host": "bad.test"})
        self.assertEqual(a.status, 200)

    def test_endpoints(self):
        for endpoint, call in (
                ("imds", self.sim.imds),
                ("jwks", lambda: self.sim.call(
                    "GET", f"/{TENANT}/discovery/v2.0/keys")),
                ("metadata", lambda: self.sim.call(
                    "GET", f"/{TENANT}/.well-known/openid-configuration"))):
            self.sim.control("fault", {"status": 503, "retry_after": 1,
                                       "match": {"endpoint": endpoint}})
            self.assertEqual(self.sim.chat().status, 200)
            a = call()
            self.assertEqual((a.status, a.headers["Retry-After"]),
                             (503, "1"))
            self.assertEqual(call().status, 200)

    def test_body_and_headers_of_the_test(self):
        self.sim.control("fault", {"body": {"a": 1}, "headers": {"x-y": "z"}})
        a = self.sim.chat()
        self.assertEqual((a.status, a.json(), a.headers["x-y"]),
                         (200, {"a": 1}, "z"))

    def test_misspelt_wish_is_refused(self):
        for wish in ({"statuss": 1}, {"match": {"hosts": "x"}},
                     {"match": {"endpoint": "nope"}}):
            self.assertEqual(
                self.sim.call("POST", "/control/fault", wish).status, 400)

    def test_content_filter(self):
        self.sim.control("fault", {"status": 400})
        a = self.sim.chat({"stream": True})
        self.assertEqual(a.headers["Content-Type"], "application/json")
        self.assertEqual(a.json()["error"]["code"], "content_filter")

    def broken_off(self, call):
        with self.assertRaises((http.client.HTTPException, OSError)) as e:
            call()
        return e.exception

    def test_close_without_an_answer(self):
        self.sim.control("fault", {"close": True})
        self.broken_off(self.sim.chat)
        self.assertTrue(self.sim.wait("ended=1"))
        self.assertTrue(self.sim.last()["cut"])

    def test_cut_in_the_middle_of_a_stream(self):
        self.sim.control("fault", {"cut_after_events": 3})
        e = self.broken_off(lambda: self.sim.chat({
            "stream": True, "stream_options": {"include_usage": True}}))
        self.assertEqual(e.partial.count(b"data: "), 3)
        self.assertTrue(e.partial.endswith(b"}\n\n"))
        self.sim.wait("ended=1&streams_open=0")
        r = self.sim.last()
        self.assertEqual((r["cut"], r["gone"], r["events"]),
                         (True, False, 3))
        self.assertEqual(r["usage"], {"prompt_tokens": 3,
                                      "completion_tokens": 1, "told": False})

    def test_cut_in_the_middle_of_a_body(self):
        self.sim.control("fault", {"cut_after_bytes": 10})
        e = self.broken_off(self.sim.chat)
        self.assertEqual(len(e.partial), 10)

    def test_reset_in_the_middle_of_a_stream(self):
        self.sim.control("fault", {"cut_after_events": 2, "reset": True})
        with socket.create_connection(("127.0.0.1", self.sim.port)) as s:
            s.sendall(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: h\r\n"
                      b"api-key: sim-resource-key\r\nContent-Length: 15\r\n"
                      b'\r\n{"stream":true}')
            with self.assertRaises(ConnectionResetError):
                while True:
                    self.assertNotEqual(s.recv(65536), b"", "no reset")

    def test_error_event(self):
        for path, body, last in (
                (CHAT, {}, "server_error"),
                ("/openai/v1/responses", {"model": "r", "input": "a"},
                 "response.failed"),
                ("/anthropic/v1/messages", {"model": "c"},
                 "overloaded_error")):
            self.sim.control("fault", {"fail_after_events": 4})
            a = self.sim.chat({**body, "stream": True}, path=path)
            ev = events(a.body)
            self.assertEqual(len(ev), 5)
            self.assertIn(last, json.dumps(ev[-1]))

    def test_stall_for_ever_until_the_client_goes(self):
        self.sim.control("fault", {"stall_forever": True,
                                   "stall_after_events": 2})
        con = http.client.HTTPConnection("127.0.0.1", self.sim.port)
        con.request("POST", CHAT, '{"stream":true,"messages":[]}', KEY)
        r = con.getresponse()
        text = b""
        while text.count(b"\n\n") < 2:
            text += r.read1(1)
        self.assertEqual(self.sim.wait("streams_open=1")["ended"], 0)
        con.close()
        r.close()
        s = self.sim.wait("gone=1&ended=1&streams_open=0")
        self.assertEqual(s["gone"], 1)
        last = self.sim.last()
        self.assertEqual((last["gone"], last["cut"], last["events"]),
                         (True, False, 2))

    def test_no_answer_until_the_client_goes(self):
        self.sim.control("fault", {"stall_forever": True})
        with socket.create_connection(("127.0.0.1", self.sim.port)) as s:
            s.sendall(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: h\r\n"
                      b"api-key: sim-resource-key\r\nContent-Length: 2\r\n"
                      b"\r\n{}")
            self.sim.wait("requests=1")
            self.assertFalse(self.sim.last()["ended"])
        self.sim.wait("gone=1")

    def test_pauses_end(self):
        for wish in ({"delay_ms": 20}, {"stall_ms": 20,
                                        "stall_after_events": 1}):
            self.sim.control("fault", wish)
            a = self.sim.chat({"stream": True}, {"x-sim-event-delay-ms": "2",
                                                 "x-sim-tokens": "3"})
            self.assertEqual(len(events(a.body)), 7)


class Records(SimTest):
    def test_what_was_received(self):
        body = b'{"messages":[],"x":"' + b"y" * 5000 + b'"}'
        self.sim.call("POST", CHAT + "&a=%20b", body, {
            **KEY, "X-Twice": "1", "x-twice": "2"})
        r = self.sim.last()
        self.assertEqual(r["endpoint"], "data")
        self.assertEqual(r["method"], "POST")
        self.assertEqual(r["path"], CHAT.split("?")[0])
        self.assertEqual(r["query"], "api-version=2024-10-21&a=%20b")
        self.assertIn(["api-key", "sim-resource-key"], r["headers"])
        self.assertEqual(
            [h for h in r["headers"] if h[0].lower() == "x-twice"],
            [["X-Twice", "1"], ["x-twice", "2"]])
        self.assertEqual(r["body_size"], len(body))
        self.assertEqual(r["body_sha256"], hashlib.sha256(body).hexdigest())
        self.assertEqual(r["body"], body[:4096].decode())
        self.assertEqual(r["status"], 200)

    def test_since_and_the_newest_thousand(self):
        seqs = []
        for _ in range(3):
            self.sim.chat()
            seqs.append(self.sim.last()["seq"])
        got = self.sim.call("GET", f"/control/requests?since={seqs[0]}")
        self.assertEqual([r["seq"] for r in got.json()], seqs[1:])

    def test_switched_off_it_still_counts(self):
        self.sim.control("record", {"on": False})
        self.sim.chat()
        self.assertEqual(self.sim.call("GET", "/control/requests").json(), [])
        self.assertEqual(self.sim.wait("ended=1")["requests"], 1)

    def test_usage_by_deployment(self):
        for n in (2, 5):
            self.sim.chat(headers={"x-sim-tokens": str(n)})
        self.sim.chat({"stream": True}, {"x-sim-tokens": "1"})
        d = self.sim.wait("ended=3")["deployments"]["gpt-4o-mini"]
        self.assertEqual(d, {"requests": 3, "ok": 3, "prompt_tokens": 9,
                             "completion_tokens": 8, "total_tokens": 17,
                             "told_tokens": 13})

    def test_wait_wakes_on_the_event(self):
        got = []
        t = threading.Thread(
            target=lambda: got.append(self.sim.wait("requests=2&imds=1")))
        t.start()
        self.sim.chat()
        self.sim.chat()
        self.sim.imds()
        t.join(timeout=20)
        self.assertEqual(got[0]["endpoints"]["imds"], 1)

    def test_wait_times_out_with_408(self):
        a = self.sim.call("GET", "/control/wait?requests=9&timeout_ms=1")
        self.assertEqual(a.status, 408)
        self.assertEqual(a.json()["requests"], 0)

    def test_wait_for_nothing_known_is_refused(self):
        for q in ("", "?foo=1", "?requests=x"):
            a = self.sim.call("GET", "/control/wait" + q)
            self.assertEqual(a.status, 400)

    def test_one_connection_serves_many(self):
        con = http.client.HTTPConnection("127.0.0.1", self.sim.port)
        for stream in (True, False, True):
            con.request("POST", CHAT, json.dumps(
                {"stream": stream, "messages": []}), KEY)
            self.assertEqual(con.getresponse().read()[-1:],
                             b"\n" if stream else b"}")
        con.close()

    def test_token_script(self):
        out = subprocess.run(
            [os.path.join(ROOT, "tests", "sim", "token.sh")],
            env={**os.environ, "SIM_URL": self.sim.base,
                 "CLAIMS": '{"appid":"x","roles":null}',
                 "HEADER": '{"typ":"y"}', "KEY": "other"},
            stdout=subprocess.PIPE, check=True).stdout.decode()
        head, claims = parts(out.strip())
        self.assertEqual((head["typ"], claims["appid"]), ("y", "x"))
        self.assertNotIn("roles", claims)


class Tls(unittest.TestCase):
    def test_tls_beside_plain(self):
        with tempfile.TemporaryDirectory() as d:
            cert, key = os.path.join(d, "c.pem"), os.path.join(d, "k.pem")
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
                 "-subj", "/CN=sim.test", "-addext",
                 "subjectAltName=DNS:sim.test", "-days", "2", "-out", cert,
                 "-keyout", key], check=True, stderr=subprocess.DEVNULL)
            proc = subprocess.Popen(
                [BINARY, "--listen", "127.0.0.1:0", "--tls", cert, key,
                 "--tls-listen", "127.0.0.1:0"], stdout=subprocess.PIPE)
            line = proc.stdout.readline().decode()
            port = int(re.search(r"TLS on 127\.0\.0\.1:(\d+)\n$",
                                 line).group(1))
            trust = ssl.create_default_context(cafile=cert)
            with socket.create_connection(("127.0.0.1", port)) as raw:
                with trust.wrap_socket(raw, server_hostname="sim.test") as s:
                    body = b'{"stream":true,"messages":[]}'
                    s.sendall(
                        b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: h"
                        b"\r\nConnection: close\r\nx-sim-event-delay-ms: 1"
                        b"\r\napi-key: sim-resource-key\r\n"
                        b"Content-Length: %d\r\n\r\n" % len(body) + body)
                    got = b""
                    while piece := s.recv(65536):
                        got += piece
            proc.terminate()
            proc.stdout.close()
            self.assertEqual(proc.wait(timeout=20), 0)
        self.assertTrue(got.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertTrue(got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"))


class Ending(unittest.TestCase):
    def test_sigterm_while_a_stream_stalls(self):
        sim = Sim()
        sim.control("fault", {"stall_forever": True})
        con = http.client.HTTPConnection("127.0.0.1", sim.port)
        con.request("POST", CHAT, '{"stream":true,"messages":[]}', KEY)
        sim.wait("streams_open=1")
        self.assertEqual(sim.end(), 0)
        con.close()

    def test_bad_options(self):
        for args in (["--nonsense", "x"], ["--listen"],
                     ["--tls-listen", "127.0.0.1:0"]):
            r = subprocess.run([BINARY] + args, stderr=subprocess.PIPE,
                               check=False)
            self.assertEqual(r.returncode, 2)
            self.assertIn(b"usage:", r.stderr)


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=1).result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
