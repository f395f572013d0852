"""One run from config to record: parts, networks, method, evaluation."""
