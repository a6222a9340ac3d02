"""CJIB-style API: mTLS, OAuth2, idempotent POST, and polling until answered (contract §4, cjib).

An invented, documented profile of a government API; no public API of the CJIB was found. Described in
`schemas/cjib-stijl.openapi.yaml`.
"""
