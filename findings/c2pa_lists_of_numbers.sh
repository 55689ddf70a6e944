#!/usr/bin/env bash
# c2pa-python 0.38.1: a list of numbers in an assertion comes back as a text, mostly with the numbers lost.
#
# Expected: what the reader's `json()` says of an assertion of one's own is the JSON that was signed.
# Behaviour: a list of numbers alone is taken for bytes, at any depth, and comes back as Base64. Of whole numbers only the low
# byte is left, others are left out, so that two shares come back as "". Lists with a text among them, empty lists and
# single numbers stay. The file is Valid.
# Output seen: whole [1, 2, 3] -> 'AQID', large [1000, 2000] -> '6NA=', shares [0.25, 0.75] -> '', deep {'size': 'QDA='}
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check c2pa-python==0.38.1 cryptography pillow
"$folder/venv/bin/python" - <<'PY'
import datetime
import io
import json

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

NOW, DAY = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)


def chain(purpose="1.3.6.1.5.5.7.3.4"):
    """Return a signer for a certificate of "Signer Ltd", issued by "Authority Inc"."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root, leaf = (
        x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, name)]) for name in ("Authority Inc", "Signer Ltd")
    )
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"),
        False,
    )
    made = []
    for name, public, is_root in ((leaf, key, False), (root, root_key, True)):
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(root)
            .public_key(public.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + 90 * DAY)
            .add_extension(x509.BasicConstraints(is_root, None), True)
            .add_extension(
                x509.KeyUsage(digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root, **usage), True
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
        )
        if not is_root:
            builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(purpose)]), False)
        made.append(builder.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo("es256", b"".join(made), pem, None))


def read_back(content, signer, data):
    """Return an assertion of one's own as the reader gives it back."""
    source = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    actions = {"actions": [{"action": "c2pa.created", "digitalSourceType": source}]}
    definition = {
        "claim_generator_info": [{"name": "Example", "version": "1"}],
        "title": "picture",
        "assertions": [{"label": "c2pa.actions", "data": actions}, {"label": "org.example.settings", "data": data}],
    }
    signed = io.BytesIO()
    with c2pa.Builder(definition) as builder:
        builder.sign(signer, "image/png", io.BytesIO(content), signed)
    with c2pa.Reader("image/png", io.BytesIO(signed.getvalue())) as reader:
        found = json.loads(reader.json())
    said = found["manifests"][found["active_manifest"]]["assertions"]
    assert found["validation_state"] == "Valid"
    (back,) = [assertion["data"] for assertion in said if assertion["label"] == "org.example.settings"]
    return back


buffer = io.BytesIO()
Image.effect_noise((64, 64), 60).convert("RGB").save(buffer, format="PNG")
given = {
    "whole": [1, 2, 3], "shares": [0.25, 0.75], "large": [1000, 2000], "deep": {"size": [64, 48]}, "mixed": [1, "a"],
    "texts": ["a", "b"], "number": 0.5, "none": [],
}
back = read_back(buffer.getvalue(), chain(), given)
for name, value in given.items():
    print(f"{name}: {value} -> {back[name]!r}")
changed = {"whole": "AQID", "large": "6NA=", "shares": "", "deep": {"size": "QDA="}}
assert back == {**given, **changed}, back
PY
echo "as it was seen"
