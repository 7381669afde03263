"""The images: which data sets there are, where their files lie, how a file becomes pixels, which classes are known."""
