"""The job of a pipeline: a lab comes up, its checks run, evidence is kept, and nothing of the lab stays."""
