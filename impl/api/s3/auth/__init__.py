"""Who sent a request, and what its body must be: AWS Signature Version 4 as S3 has it. Pure: time comes in as a number.

    claim.py      what a request says of itself: key, scope, time, signed headers, signature
    canonical.py  the form of a request that is signed
    signing.py    keys and signatures, constant-time
    payload.py    how the body is to be checked
    verifier.py   all that together

No secret, signing key or right signature is ever in a repr, an error or a log line of these rooms.
"""

from impl.api.s3.auth.payload import Payload, PayloadKind
from impl.api.s3.auth.verifier import AuthKind, Verified, Verifier

__all__ = ["AuthKind", "Payload", "PayloadKind", "Verified", "Verifier"]
