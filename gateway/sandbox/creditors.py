"""The four sandbox servers together, with an account for every creditor of the sandbox's register.

    webhook ─► HTTPS    sftp ─► SFTP    email ─► SMTP with STARTTLS    cjib ─► mTLS API

Each verifies what it gets and answers in its own way; `given` remembers what every creditor decided, and each server
keeps a log of all that arrived.
"""
