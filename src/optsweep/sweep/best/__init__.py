"""The best model of a sweep: kept in the folder `best/` and in MLflow, and found again.

`keeping` writes the folder, `readme` the page in it, and `finding` loads a model by its folder, or
by the id of its run or sweep.
"""
