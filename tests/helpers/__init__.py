"""What tests share: small networks and requests, the command line, servers."""
