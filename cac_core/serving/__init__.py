"""A threshold in use: verdicts on many images, here, elsewhere without this project, and over a network."""
