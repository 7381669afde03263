"""The app: pages over finished runs, a reader of them, and chart builders."""
