"""Records of training runs: a local file first, MLflow in the background.

The only importer of mlflow.
"""
