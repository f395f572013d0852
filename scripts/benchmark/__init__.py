"""Times the published loops beside ours. It is not part of the installed package."""
