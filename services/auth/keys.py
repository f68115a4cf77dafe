"""Key pairs for signing, and their encryption at rest.

Envelope encryption: each private key is encrypted with a data key of its own, the data key with the key from the
environment. Replacing that one means encrypting some bytes per key anew, and the private keys stay as they are.
"""

import hashlib
import os
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey

from services.auth.models import SigningKey
from shared.auth import ALGORITHM

_NONCE_BYTES: Final = 12


class KeyDecryptionError(Exception):
    """A signing key in the database was encrypted with another key than those in the environment."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key ready to sign, and the id under which verifiers find its public half."""

    kid: str
    key: ECKey


class KeyRing:
    """Makes, encrypts and decrypts signing keys; decrypted ones stay in memory."""

    def __init__(self, key_encryption_key: bytes, *others: bytes) -> None:
        """The first key encrypts; all of them decrypt, so that one can be replaced by another."""
        self._ciphers = {_name(key): AESGCM(key) for key in (*others, key_encryption_key)}
        self._name = _name(key_encryption_key)
        self._signers: dict[str, Signer] = {}

    def generate(self) -> dict[str, object]:
        """The columns of a new `SigningKey`, all but its times."""
        private_key = ec.generate_private_key(ec.SECP256R1())
        public = ECKey.import_key(private_key.public_key())
        kid = public.thumbprint()
        data_key = AESGCM.generate_key(bit_length=256)
        private_bytes = private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return {
            "kid": kid,
            "public_jwk": {**public.as_dict(private=False), "kid": kid, "use": "sig", "alg": ALGORITHM},
            "encrypted_private_key": _encrypt(AESGCM(data_key), private_bytes, kid),
            "encrypted_data_key": _encrypt(self._ciphers[self._name], data_key, kid),
            "encrypted_with": self._name,
        }

    def signer(self, row: SigningKey) -> Signer:
        """The key of a row, decrypted the first time.

        Raises:
            KeyDecryptionError: where the key from the environment is not the one that it was encrypted with.
        """
        if row.kid not in self._signers:
            private_bytes = self._opened(row, AESGCM(self._data_key(row)), row.encrypted_private_key)
            self._signers[row.kid] = Signer(row.kid, ECKey.import_key(private_bytes))
        return self._signers[row.kid]

    def encrypted_anew(self, row: SigningKey) -> dict[str, object] | None:
        """The columns that change when a row is encrypted with the first key; None where it is already.

        Raises:
            KeyDecryptionError: where none of the keys from the environment is the one that it was encrypted with.
        """
        if row.encrypted_with == self._name:
            return None
        sealed = _encrypt(self._ciphers[self._name], self._data_key(row), row.kid)
        return {"encrypted_data_key": sealed, "encrypted_with": self._name}

    def _data_key(self, row: SigningKey) -> bytes:
        cipher = self._ciphers.get(row.encrypted_with)
        if cipher is None:
            known = " or ".join(self._ciphers)
            raise KeyDecryptionError(
                f"signing key {row.kid} was encrypted with the key {row.encrypted_with}, not with {known}"
            )
        return self._opened(row, cipher, row.encrypted_data_key)

    def _opened(self, row: SigningKey, cipher: AESGCM, sealed: bytes) -> bytes:
        try:
            return _decrypt(cipher, sealed, row.kid)
        except InvalidTag:
            raise KeyDecryptionError(f"signing key {row.kid} was not encrypted as its row says") from None


def _name(key_encryption_key: bytes) -> str:
    return hashlib.sha256(key_encryption_key).hexdigest()[:16]


def _encrypt(cipher: AESGCM, secret: bytes, kid: str) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    # The key id is bound to it, so that no row's secret can be put into another row.
    return nonce + cipher.encrypt(nonce, secret, kid.encode())


def _decrypt(cipher: AESGCM, sealed: bytes, kid: str) -> bytes:
    return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], kid.encode())
