"""Where a method's labelled images come from: real rows, or synthesised from the teacher alone."""
