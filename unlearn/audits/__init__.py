"""What an auditor finds in one network, set among networks that never saw the class."""
