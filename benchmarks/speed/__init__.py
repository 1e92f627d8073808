"""Speed and memory against the libraries that users have today."""
