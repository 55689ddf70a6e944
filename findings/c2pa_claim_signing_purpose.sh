#!/usr/bin/env bash
# c2pa-python 0.38.1: a certificate for C2PA's own purpose, claim signing, is refused unless the settings name that purpose.
#
# Expected: c2pa-kp-claimSigning (1.3.6.1.4.1.62558.2.1), which C2PA's certificate policy asks of a signer's certificate, is
# taken by C2PA's own library as it comes.
# Behaviour: signing raises "certificate missing required EKU", and a reader says "Invalid" of such a file, until
# {"trust": {"trust_config": "1.3.6.1.4.1.62558.2.1"}} is set on the reader; the one of the signer does not reach the check
# that follows signing. A certificate for e-mail protection is taken.
# Output seen: signing by default: certificate missing required EKU; reading: e-mail Valid, claim signing Invalid, named Valid
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


def sign(content, signer, settings=None, title="picture"):
    source = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    actions = {"actions": [{"action": "c2pa.created", "digitalSourceType": source}]}
    definition = {
        "claim_generator_info": [{"name": "Example", "version": "1"}],
        "title": title,
        "assertions": [{"label": "c2pa.actions", "data": actions}],
    }
    signed = io.BytesIO()
    with c2pa.Builder(definition, context=c2pa.Context.from_dict(settings or {})) as builder:
        builder.sign(signer, "image/png", io.BytesIO(content), signed)
    return signed.getvalue()


buffer = io.BytesIO()
Image.effect_noise((64, 64), 60).convert("RGB").save(buffer, format="PNG")
plain = buffer.getvalue()

OWN = "1.3.6.1.4.1.62558.2.1"
MISSING = "certificate missing required EKU"


def state_of(content, settings):
    with c2pa.Reader("image/png", io.BytesIO(content), context=c2pa.Context.from_dict(settings)) as reader:
        return reader.get_validation_state()


try:
    sign(plain, chain(OWN))
    signing = "signed"
except c2pa.C2paError as error:
    signing = MISSING if MISSING in str(error) else str(error)
unchecked = sign(plain, chain(OWN), {"verify": {"verify_after_sign": False}})
named = {"trust": {"trust_config": OWN}}
states = state_of(sign(plain, chain()), {}), state_of(unchecked, {}), state_of(unchecked, named)
print(f"signing by default: {signing}; reading: e-mail {states[0]}, claim signing {states[1]}, named {states[2]}")
assert (signing, *states) == (MISSING, "Valid", "Invalid", "Valid")
PY
echo "as it was seen"
