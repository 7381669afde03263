"""What comes from outside and what goes out: pictures of one's own, published weights, copies, packed runs, MLflow."""
