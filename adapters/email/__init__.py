"""A mail with a letter, and a page to answer on (contract §4, email)."""
