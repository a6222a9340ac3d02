"""Stories told by an outsider: a gemeente and its creditors who know the wire contract and nothing of the gateway.

    python -m tests.flow.outside kill      the gateway is killed and restarted while notices stream in
    python -m tests.flow.outside pause     one of two gateways stands still past its lease, and goes on
    python -m tests.flow.outside broker    RabbitMQ is killed and restarted while notices stream in

Publisher, creditors and events each keep a log of their own; `verdict` compares the three and says what is amiss.
"""
