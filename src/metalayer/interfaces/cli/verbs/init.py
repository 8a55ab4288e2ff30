"""`metalayer init`: a new project."""
