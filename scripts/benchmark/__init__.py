"""Speed of published loops beside ours; not part of the installed package."""
