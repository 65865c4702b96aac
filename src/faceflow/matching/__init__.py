"""How two faces are compared: options, weights, transport, THE score, 1:N and 1:1."""
