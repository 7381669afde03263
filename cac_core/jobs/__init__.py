"""Work that goes on without the app: a queue of jobs as files, and who starts them."""
