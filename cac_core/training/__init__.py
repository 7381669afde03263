"""Training: the loop, its batches, several processes that train one run, and what a run will take."""
