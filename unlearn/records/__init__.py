"""What a run leaves on disk: records, run directories, histories, and the plan of a sweep."""
