"""What a file says about the model it was made from: program, dialect and hashes."""

from __future__ import annotations

import hashlib

from darknet_bn.model.model import Model
from darknet_bn.model.weights import stored_arrays
from darknet_bn.version import __version__


def provenance(model: Model) -> dict[str, str]:
    """Return what a fixture or an export says about the program and the model that made it."""
    weights = hashlib.sha256(model.header.to_bytes())
    for part in stored_arrays(model.header, model.network, model.params):
        weights.update(part.data)
    return {
        "program": "darknet-bn",
        "version": __version__,
        "dialect": model.dialect.name,
        "cfg_sha256": hashlib.sha256(model.cfg.to_bytes()).hexdigest(),
        "weights_sha256": weights.hexdigest(),
    }
