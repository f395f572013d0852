"""What the methods cost, beside the same mathematics as published."""
