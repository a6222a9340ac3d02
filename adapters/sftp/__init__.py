"""Messages as XML files in a creditor's `inbox/` over SFTP; its answers from `outbox/` (contract §4, sftp)."""
