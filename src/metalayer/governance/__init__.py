"""What a person may read, and how each name is read.

Every read, a model's own included, goes through `access.secure`. Nothing here opens a file or decides when work is
done.
"""
