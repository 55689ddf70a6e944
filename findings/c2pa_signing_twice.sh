#!/usr/bin/env bash
# c2pa-python 0.38.1: signing a file that is signed already drops its first manifest, in silence.
#
# Expected: a file's history is what C2PA is for: the manifest that a file brings is kept below the new one, as its
# ingredient, or signing says that it would be lost.
# Behaviour: the new manifest takes the place of the old one, and the file is Valid. Only who adds the file to the builder
# as an ingredient, too, keeps the first manifest.
# Output seen: signed twice the file holds 1 manifest (second) and is Valid; as an ingredient, 2
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

signer = chain()
first = sign(plain, signer, title="first")
second = sign(first, signer, title="second")
with c2pa.Reader("image/png", io.BytesIO(second)) as reader:
    state = reader.get_validation_state()
    titles = [manifest["title"] for manifest in json.loads(reader.json())["manifests"].values()]
kept = io.BytesIO()
with c2pa.Builder({"claim_generator_info": [{"name": "Example"}], "title": "second"}) as builder:
    builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
    builder.add_ingredient({"title": "first"}, "image/png", io.BytesIO(first))
    builder.sign(signer, "image/png", io.BytesIO(first), kept)
with c2pa.Reader("image/png", io.BytesIO(kept.getvalue())) as reader:
    number = len(json.loads(reader.json())["manifests"])
print(f"signed twice the file holds {len(titles)} manifest ({', '.join(titles)}) and is {state}; as an ingredient, {number}")
assert (titles, state, number) == (["second"], "Valid", 2)
PY
echo "as it was seen"
