"""Webhook: a signed POST of a CloudEvent to the creditor's own address (contract §4, webhook)."""
